"""Every number that the paper reports beside ours, with a verdict: agrees, differs, or not comparable at this
scale.
"""
