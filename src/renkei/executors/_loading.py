"""Finding procedures in modules and in people's own files."""

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from renkei.errors import UsageError
from renkei.model.procedure import Procedure, procedure_of


def load_code(code: Path | str) -> ModuleType:
    """Import a module by its name, or a Python file by its path; the file's folder is then importable from it.

    Raises:
        UsageError: It cannot be imported; says why.
    """
    try:
        return _load_file(Path(code)) if str(code).endswith(".py") else importlib.import_module(str(code))
    except Exception as error:  # whatever the code of others raises when it is imported
        raise UsageError(f"{code} cannot be imported: {type(error).__name__}: {error}") from error


def procedures_in(code: Path | str) -> Iterator[tuple[str, Procedure]]:
    """Yield (target, procedure) of every function marked @procedure that a module or file defines.

    Raises:
        UsageError: It cannot be imported.
    """
    module = load_code(code)
    for name, value in vars(module).items():
        procedure = procedure_of(value)
        if procedure is not None and procedure.function.__module__ == module.__name__:
            yield f"{code}:{name}", procedure


def load_procedure(target: str) -> Procedure:
    """Return the procedure at "module:function" or "/path/file.py:function".

    Raises:
        UsageError: There is no such procedure, or it cannot be imported.
    """
    code, _, name = target.rpartition(":")
    procedure = procedure_of(getattr(load_code(code), name, None))
    if procedure is None:
        raise UsageError(f"{code} has no procedure '{name}'.")
    return procedure


def _load_file(path: Path) -> ModuleType:
    name = f"renkei_user_{path.stem}"
    known = sys.modules.get(name)
    if known is not None and known.__file__ == str(path):
        return known
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError("it is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
