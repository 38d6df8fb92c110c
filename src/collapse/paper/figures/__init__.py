"""How every figure of the project looks: fonts, colours, legends, axes. The figures are in
workflow/scripts/figures.
"""
