"""A machine with PyTorch and little else, pretended: every other package cannot be imported."""

import re
from importlib.metadata import PackageNotFoundError, packages_distributions, requires

THERE = ["torch", "numpy", "pandas", "pyarrow", "PyYAML", "safetensors"]
BARE = """
import json, os, sys

class Refuse:
    refused = set(json.loads(os.environ["REFUSED"]))

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.refused:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Refuse())
from collapse.commands.main import main
sys.exit(main())
"""


def needed(names):
    """The distributions, and what they need without extras."""
    found, waiting = set(), list(names)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name not in found:
            found.add(name)
            try:
                wants = requires(name) or []
            except PackageNotFoundError:
                continue
            waiting += [re.match(r"[\w.-]+", want)[0] for want in wants if "extra ==" not in want]
    return found


def refused():
    """Every other third-party module that is installed here."""
    there = needed(THERE)
    return [
        module
        for module, distributions in packages_distributions().items()
        if module != "collapse"
        and there.isdisjoint(re.sub(r"[-_.]+", "-", name).lower() for name in distributions)
    ]
