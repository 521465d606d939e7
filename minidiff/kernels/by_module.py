"""A table of kernels whose modules are imported when they are needed."""

import importlib
from collections import UserDict
from collections.abc import Callable, Mapping


class ByModule(UserDict):
    """Name → kernel; a kernel's module is imported when it is first looked up.

    `homes` says which kernels there are in each module of the package.
    """

    def __init__(self, package: str, homes: Mapping[str, str]) -> None:
        self.package = package
        self.data = {name: module for module, names in homes.items() for name in names.split()}

    def __getitem__(self, name: str) -> Callable:
        return getattr(importlib.import_module(f"{self.package}.{self.data[name]}"), name)
