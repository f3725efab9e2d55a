"""What a person is told of what went wrong: one sentence, with a status, whatever was raised."""

from __future__ import annotations

import errno
import json

import pytest
import typer

from pcnc.cli.report import Interrupted, counted, guarded, problem_of_os_error
from pcnc.diagnostics import CompileError, Diagnostic, Severity
from pcnc_runtime.errors import RuntimeProblem


def raised(error: BaseException, *, as_json: bool = False) -> int:
    """The exit status of a command that raises this."""

    @guarded
    def command(*, as_json: bool) -> None:
        raise error

    with pytest.raises(typer.Exit) as ended:
        command(as_json=as_json)
    return ended.value.exit_code


def test_a_fault_of_our_own_is_a_sentence(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert raised(ZeroDivisionError("division by zero")) == 1
    said = capsys.readouterr().err
    assert said.startswith("error[internal-error]: an error inside pcnc: ZeroDivisionError: division by zero\n")
    assert "please report it" in said
    assert "Traceback" not in said
    monkeypatch.setenv("PCNC_DEBUG", "1")
    assert raised(ZeroDivisionError("division by zero")) == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_problem_with_its_log(capsys: pytest.CaptureFixture[str]) -> None:
    log = "\n".join(f"line {number}" for number in range(100))
    assert raised(RuntimeProblem("verifier-refused", "it refuses", "mend it", log=log)) == 1
    said = capsys.readouterr().err
    assert "error[verifier-refused]: it refuses\n = help: mend it\n" in said
    assert said.endswith("  | line 99\n")
    assert "line 69\n" not in said
    assert raised(RuntimeProblem("verifier-refused", "it refuses", errno=13, log=log), as_json=True) == 1
    error = json.loads(capsys.readouterr().out)["error"]
    assert (error["name"], error["errno"], error["log"]) == ("verifier-refused", 13, log)


@pytest.mark.parametrize(
    ("error", "name", "text"),
    [
        (OSError(errno.ENOENT, "No such file", "x.pcn"), "no-such-file", "there is no x.pcn"),
        (OSError(errno.EISDIR, "Is a directory", b"x"), "is-a-folder", "x is a folder, not a file"),
        (OSError(errno.EACCES, "Permission denied", "x.pcn"), "no-permission", "x.pcn may not be used: Permission denied"),
        (OSError(errno.EPERM, "Operation not permitted"), "no-privilege", "cannot use what this needs"),
        (OSError(errno.EACCES, "Permission denied", "/sys/fs/bpf/pcnc"), "no-privilege", "cannot use /sys/fs/bpf/pcnc"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk-full", "cannot write the output: No space left on device"),
        (OSError(errno.EIO, "Input/output error", "x.pcn"), "refused", "x.pcn: Input/output error"),
        (TimeoutError("timed out"), "refused", "timed out"),
    ],
)
def test_what_a_system_call_says_in_words(error: OSError, name: str, text: str) -> None:
    problem = problem_of_os_error(error)
    assert problem.name == name
    assert problem.message.startswith(text)


def test_ctrl_c_has_a_status_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert raised(KeyboardInterrupt()) == 130
    assert raised(Interrupted("nothing was changed")) == 130
    assert capsys.readouterr().err == "pcnc: interrupted\npcnc: interrupted; nothing was changed\n"


def test_a_reader_that_has_gone_hears_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert raised(BrokenPipeError()) == 1
    assert capsys.readouterr() == ("", "")


def test_no_memory(capsys: pytest.CaptureFixture[str]) -> None:
    assert raised(MemoryError()) == 1
    assert capsys.readouterr().err == "error[no-memory]: there is not enough memory for this\n"


def test_problems_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    found = (Diagnostic("a", "first", None), Diagnostic("b", "second", None, Severity.WARNING), Diagnostic("c", "third", None))
    assert counted(found) == "2 errors, 1 warning"
    assert counted(found[1:2]) == "1 warning"
    assert raised(CompileError(found)) == 1
    assert capsys.readouterr().err.endswith("\n2 errors, 1 warning\n")


def test_wrong_use_goes_to_whoever_knows_the_usage() -> None:
    @guarded
    def command() -> None:
        raise typer.BadParameter("give something")

    with pytest.raises(typer.BadParameter):
        command()
