"""C to objects: the same bytes in whatever folder, a cache of what was compiled before, and one that is never in the way."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from pcnc_runtime.build import Clang, compile_source, compile_sources, find_clang
from pcnc_runtime.errors import RuntimeProblem
from pcnc_runtime.object_cache import folder_of, recall, remember

pytestmark = pytest.mark.clang

TEXT = """
#include <linux/bpf.h>
#include "answer.h"
#line 3 "some.pcn"
__attribute__((section("xdp"), used)) int answer(struct xdp_md *context) { return context ? ANSWER : 0; }
char _license[] __attribute__((section("license"), used)) = "Dual BSD/GPL";
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "pcnc" / "objects"


@pytest.fixture
def include(tmp_path: Path) -> Path:
    folder = tmp_path / "include"
    folder.mkdir()
    (folder / "answer.h").write_text("#define ANSWER 2\n")
    return folder


@pytest.fixture
def counting(tmp_path: Path) -> Path:
    """A clang that notes each of its runs in a file beside it."""
    path = tmp_path / "clang-counting"
    path.write_text(f'#!/bin/sh\necho "$1" >> {path}.runs\nexec {find_clang().path} "$@"\n')
    path.chmod(0o755)
    return path


def runs(counting: Path) -> list[str]:
    noted = Path(f"{counting}.runs")
    return noted.read_text().split() if noted.exists() else []


def test_the_same_text_gives_the_same_bytes_in_whatever_folder(tmp_path: Path, include: Path) -> None:
    other = tmp_path / "quite" / "another place"
    other.mkdir(parents=True)
    (other / "answer.h").write_bytes((include / "answer.h").read_bytes())
    code = (
        "import pathlib, sys; from pcnc_runtime.build import compile_sources;"
        "sys.stdout.buffer.write(compile_sources({'a': sys.argv[2]}, include=pathlib.Path(sys.argv[1]), use_cache=False)['a'])"
    )
    made = [
        subprocess.run(
            [sys.executable, "-c", code, str(folder), TEXT], cwd=cwd, capture_output=True, check=True, env=_environment()
        )
        for folder, cwd in ((include, "/"), (other, tmp_path))
    ]
    assert made[0].stdout == made[1].stdout
    assert made[0].stdout.startswith(b"\x7fELF")
    assert str(tmp_path).encode() not in made[0].stdout


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1] / "runtime")}


def test_what_was_compiled_before_is_not_compiled_again(include: Path, counting: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PCNC_CLANG", str(counting))
    first = compile_sources({"a": TEXT, "b": TEXT + "\n"}, include=include)
    assert sorted(runs(counting)) == ["--version", "-O2", "-O2"]
    assert compile_sources({"b": TEXT + "\n", "a": TEXT}, include=include) == first
    assert len(runs(counting)) == 3
    compile_source(TEXT + "\n\n", include=include)
    assert len(runs(counting)) == 4


def test_a_header_that_changed_is_seen(include: Path, counting: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PCNC_CLANG", str(counting))
    before = compile_source(TEXT, include=include)
    (include / "answer.h").write_text("#define ANSWER 1\n")
    assert compile_source(TEXT, include=include) != before
    (include / "answer.h").write_text("#define ANSWER 2\n")
    assert compile_source(TEXT, include=include) == before
    assert runs(counting).count("-O2") == 2


def test_another_clang_compiles_anew(include: Path, cache: Path) -> None:
    clang = find_clang()
    compile_sources({"a": TEXT}, include=include, compiler=clang)
    compile_sources({"a": TEXT}, include=include, compiler=Clang(clang.path, "another version"))
    assert len(list(cache.glob("*.o"))) == 2


def test_a_clang_that_changed_is_asked_for_its_version_again(counting: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PCNC_CLANG", str(counting))
    find_clang()
    find_clang()
    assert runs(counting) == ["--version"]
    os.utime(counting, ns=(0, 0))
    find_clang()
    assert runs(counting) == ["--version", "--version"]


def test_a_broken_object_in_the_cache_is_compiled_anew(include: Path, cache: Path) -> None:
    made = compile_source(TEXT, include=include)
    (kept,) = cache.glob("*.o")
    kept.write_bytes(b"")
    assert compile_source(TEXT, include=include) == made
    assert kept.read_bytes() == made


@pytest.mark.parametrize("obstacle", ["file", "home", "relative"])
def test_a_cache_that_cannot_be_is_done_without(
    obstacle: str, include: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if obstacle == "file":
        (tmp_path / "cache").write_text("in the way")
    elif obstacle == "home":
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setenv("HOME", "/proc/self/nowhere")
    else:
        monkeypatch.setenv("XDG_CACHE_HOME", "cache")
        monkeypatch.chdir(tmp_path)
    assert compile_source(TEXT, include=include).startswith(b"\x7fELF")
    assert obstacle == "file" or not (tmp_path / "cache").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="whoever is not root meets it in the test above")
def test_a_cache_that_one_may_not_write_is_done_without(include: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    folder = tmp_path / "cache"
    folder.mkdir(mode=0o755)
    pid = os.fork()
    if pid == 0:
        os.setuid(65534)
        try:
            made = compile_source(TEXT, include=include)
        except BaseException:  # noqa: BLE001 - a child process that must not come back into pytest
            os._exit(1)
        os._exit(0 if made.startswith(b"\x7fELF") else 2)
    reachable = all(parent.stat().st_mode & stat.S_IXOTH for parent in tmp_path.parents)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status == 0 or not reachable
    assert not list(folder.iterdir())


def test_clang_is_told_by_its_words(include: Path) -> None:
    with pytest.raises(RuntimeProblem) as caught:
        compile_sources({"good": TEXT, "bad": TEXT.replace("ANSWER", "nothing")}, include=include)
    assert caught.value.name == "clang-refused"
    assert "`bad`" in caught.value.message
    refusal = caught.value.refusal
    assert refusal is not None
    assert (refusal.file, refusal.line) == ("some.pcn", 3)
    assert "undeclared" in caught.value.log


def test_a_warning_is_a_refusal(include: Path) -> None:
    with pytest.raises(RuntimeProblem, match="unused"):
        compile_source(TEXT + "static int nobody_calls_it(void) { return 1; }\n", include=include)


@pytest.mark.parametrize("chosen", ["", "no-such-clang", "/no/such/clang", "/bin/true"])
def test_no_clang_is_told(chosen: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PCNC_CLANG", chosen)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeProblem) as caught:
        find_clang()
    assert caught.value.name == "no-clang"


def test_nothing_to_compile_needs_no_clang_process(counting: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PCNC_CLANG", str(counting))
    assert compile_sources({}) == {}
    assert runs(counting) == ["--version"]


def test_the_folder_of_quoted_lines_is_the_same_for_the_same_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    files = {"a.pcn": "one\n", "b.pcn": "two\n"}
    with folder_of(files) as folder:
        (folder / "a.pcn").write_text("one and more")
    with folder_of(files) as again:
        assert again == folder, "nothing of it is for one process alone, which may be killed"
        assert {path.name: path.read_text() for path in again.iterdir()} == files
    with folder_of({"a.pcn": "one\n"}) as other:
        assert [path.name for path in other.iterdir()] == ["a.pcn"]
    with monkeypatch.context() as patched:
        patched.setattr(tempfile, "mkstemp", lambda **_: pytest.fail("a file has no name before it is whole"))
        remember("key", b"content")
    remember("key", b"others")
    assert sorted(path.name for path in (tmp_path / "pcnc" / "objects").iterdir()) == ["key", "quoted"]
    assert recall("key") == b"others"
