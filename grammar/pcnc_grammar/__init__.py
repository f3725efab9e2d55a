"""The grammar of PCN and its prelude, and what is kept of them in the user's cache so that the next start is fast."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar

from pcnc.source import Source

if TYPE_CHECKING:
    from lark import Lark

T = TypeVar("T")

_HERE = Path(__file__).parent


def grammar_text() -> str:
    """The grammar, in Lark's notation."""
    return (_HERE / "pcn.lark").read_text(encoding="utf-8")


def prelude_source() -> Source:
    """The headers that every program knows, written in PCN."""
    return Source("prelude.pcn", (_HERE / "prelude.pcn").read_text(encoding="utf-8"))


def load_parser(transformer: object) -> Lark:
    """The LALR(1) parser of the grammar, from the cache where it is there; rules call the methods of `transformer`."""
    import lark

    grammar = grammar_text()
    directory = _directory()
    path = directory / f"grammar-{_key(grammar.encode(), lark.__version__.encode())}" if directory is not None else None
    if path is not None and _is_ours(path):
        try:
            with path.open("rb") as file:
                # What Lark's own `cache` option calls; that option writes in place and cannot be used for this.
                return lark.Lark.__new__(lark.Lark)._load(file, transformer=transformer)
        except Exception:  # noqa: BLE001, S110 - a damaged pickle can raise anything, and then the grammar itself is read
            pass
    parser = lark.Lark(grammar, parser="lalr", lexer="basic", maybe_placeholders=False, transformer=transformer)
    if path is not None:
        _keep(path, lambda file: parser.save(file, ("transformer",)))
    return parser


def load_prelude(kind: type[T], parse: Callable[[Source], T]) -> T:
    """The tree, a `kind`, that `parse` makes of the prelude, from the cache where it is there.

    A cache that is missing, damaged, not ours or not writable is passed over.
    """
    source = prelude_source()
    directory = _directory()
    if directory is None:
        return parse(source)
    path = directory / f"prelude-{_key(source.text.encode(), grammar_text().encode(), *_code(parse))}"
    if _is_ours(path):
        try:
            tree = pickle.loads(path.read_bytes())
        except Exception:  # noqa: BLE001 - a damaged pickle can raise anything
            tree = None
        if isinstance(tree, kind):
            return tree
    made = parse(source)
    _keep(path, lambda file: pickle.dump(made, file, protocol=pickle.HIGHEST_PROTOCOL))
    return made


def _code(parse: Callable[[Source], object]) -> list[bytes]:
    """The code that decides what a tree looks like: the modules beside the one of `parse`."""
    here = Path(parse.__code__.co_filename).parent
    modules = [here / name for name in ("source.py", "literals.py", "build_syntax.py")]
    return [module.read_bytes() for module in (*modules, *sorted((here / "syntax").glob("*.py")))]


def _key(*parts: bytes) -> str:
    digest = hashlib.sha256(sys.version.encode())
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()[:32]


def _directory() -> Path | None:
    """The directory of the cache, made if need be; None if there is none that is ours and can be written."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    try:
        # The specification of base directories has relative paths ignored.
        directory = (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "pcnc"
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        return None
    return directory if _is_ours(directory) and os.access(directory, os.W_OK) else None


def _is_ours(path: Path) -> bool:
    """Whether nobody else can have written it: a pickle of someone else's must not be read."""
    try:
        status = path.stat()
    except OSError:
        return False
    return status.st_uid == os.geteuid() and not status.st_mode & 0o022


def _keep(path: Path, write: Callable[[BinaryIO], None]) -> None:
    """Writes beside and renames, so that nobody ever reads half of it. What cannot be written is not kept."""
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with open(descriptor, "wb") as file:
            write(file)
        beside.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            beside.unlink()
