"""What is known before training: closed forms of NC0 under SGD and SGDW, sign descent, and numerical checks
of the paper's theorems.
"""
