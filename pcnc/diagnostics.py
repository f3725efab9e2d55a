"""What a problem is: a name, a place, a message, and where it helps what was meant."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from pcnc.source import Span


class Severity(Enum):
    """How bad a problem is: an error stops the walk, a warning does not."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Note:
    """A second place that explains the first ("the earlier rule is here")."""

    message: str
    span: Span | None


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One problem. `name` is its kebab-case name, the same for ever; `help` says how to mend it."""

    name: str
    message: str
    span: Span | None
    severity: Severity = Severity.ERROR
    label: str = ""
    help: str = ""
    notes: tuple[Note, ...] = ()

    @property
    def is_error(self) -> bool:
        """Whether this problem stops the walk."""
        return self.severity is Severity.ERROR


class CompileError(Exception):
    """Raised at the end of a stage of the walk that found errors; carries all of them."""

    def __init__(self, diagnostics: tuple[Diagnostic, ...]) -> None:
        super().__init__("; ".join(d.message for d in diagnostics))
        self.diagnostics = diagnostics


@dataclass(slots=True)
class Diagnostics:
    """Collects the problems of one stage, so that all of them are reported at once."""

    found: list[Diagnostic] = field(default_factory=list)
    _known: set[Diagnostic] = field(default_factory=set, repr=False)

    def add(self, diagnostic: Diagnostic) -> None:
        """Takes in one problem; the same problem at the same place is taken once."""
        if diagnostic not in self._known:
            self._known.add(diagnostic)
            self.found.append(diagnostic)

    @property
    def has_errors(self) -> bool:
        """Whether anything found so far stops the walk."""
        return any(d.is_error for d in self.found)

    def raise_if_errors(self) -> None:
        """Raises CompileError with everything found, warnings included, if there is an error."""
        if self.has_errors:
            raise CompileError(tuple(self.found))
