"""What is known before training: closed forms of NC0, elementwise rules on fixed features, and numerical
checks of the paper's theorems and of those on the other optimizers.
"""
