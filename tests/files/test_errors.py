"""What is said of an error."""

import pytest

from collapse.files.errors import first_line


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("wrong shape\nand pages more"), "wrong shape"),
        (ValueError("\n  wrong shape\n"), "wrong shape"),
        (AssertionError(), "AssertionError"),
        (OSError(" \n"), "OSError"),
        ("its content is not what was written", "its content is not what was written"),
    ],
)
def test_the_first_line_of_an_error_is_never_empty(error, said):
    assert first_line(error) == said
