"""`pcnc watch`: real saves of real files, a real service, and packets that tell which version is in force."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import pytest

from pcnc_runtime.operations import AddRule, change_rules, describe, read_running, read_source, rollback, unload
from tests.command_line import COMMAND, ROOT, environment, pcnc
from tests.live_service import Wire, new_name, prefix, udp
from tests.loaded_by_command import Service, loaded
from tests.spoiling_clang import BYTES, spoiling_clang

pytestmark = [pytest.mark.kernel, pytest.mark.clang]


def version(network: str, rest: str = "") -> str:
    """A firewall that drops what comes from one network."""
    return f"""service watched {{
    table sources {{ match ipv4.src: lpm; action drop, next; size 64; count packets }}
    rules sources {{ {network} -> drop }}
    {rest}
    chain ingress {{ sources }}
}}
"""


ONE, TWO, THREE = (f"10.0.{number}.0/24" for number in (1, 2, 3))


def dropped(wire: Wire) -> str:
    """Which of the networks cannot get through."""
    return " ".join(net for net in (ONE, TWO, THREE) if not wire.passes(udp(net.replace(".0/24", ".9"))))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "sources" / "watched.pcn"
    made.parent.mkdir()
    made.write_text(version(ONE))
    return made


@pytest.fixture
def service(wire: Wire, path: Path) -> Iterator[Service]:
    with loaded(wire, path) as made:
        yield made


class Watch:
    """`pcnc watch --json` as a process: what it says, one object a line."""

    def __init__(self, service: Service, file: str | Path, *options: str, folder: Path = ROOT) -> None:
        command = [*COMMAND, "watch", service.name, str(file), "--json", *options]
        self.process = subprocess.Popen(
            command, env=environment(), cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def next(self) -> Any:
        """The next thing that it says."""
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], 30)
        assert ready, "it says nothing"
        return json.loads(self.process.stdout.readline())

    def expect(self, event: str) -> Any:
        """The next thing that it says, which is this."""
        said = self.next()
        assert said["event"] == event, said
        return said

    def is_silent(self, seconds: float) -> bool:
        """Whether it says nothing for a time."""
        assert self.process.stdout is not None
        return not select.select([self.process.stdout], [], [], seconds)[0]

    def interrupt(self) -> tuple[int, list[Any], str]:
        """Ctrl-C: its status, what it still said, and what went to standard error."""
        self.process.send_signal(signal.SIGINT)
        output, errors = self.process.communicate(timeout=60)
        return self.process.returncode, [json.loads(line) for line in output.splitlines()], errors


def renamed_over(path: Path, text: str) -> None:
    """As most editors save."""
    beside = path.with_name(".saved")
    beside.write_text(text)
    beside.rename(path)


def test_saves_of_every_kind_become_swaps(wire: Wire, service: Service, path: Path) -> None:
    with Watch(service, path) as watch:
        assert watch.expect("watching")["generation"] == 1
        renamed_over(path, version(TWO))
        said = watch.expect("swapped")
        assert (said["generation"], said["name"], said["file"]) == (2, service.name, str(path))
        assert said["change"]["rules"] == [{"table": "sources", "added": [2], "removed": [1], "replaced": []}]
        assert 0 < said["change"]["in_force"] < said["after"] < 30
        assert dropped(wire) == TWO
        # Written in place; the old file renamed and a new one written, as vim does it; a link.
        path.write_text(version(THREE))
        assert watch.expect("swapped")["generation"] == 3
        assert dropped(wire) == THREE
        path.rename(path.with_name("watched.pcn~"))
        path.write_text(version(ONE))
        assert watch.expect("swapped")["generation"] == 4
        elsewhere = path.parent.parent / "elsewhere.pcn"
        elsewhere.write_text(version(TWO))
        path.with_name("link").symlink_to(elsewhere)
        path.with_name("link").rename(path)
        assert watch.expect("swapped")["generation"] == 5
        renamed_over(elsewhere, version(THREE))
        assert watch.expect("swapped")["generation"] == 6
        assert dropped(wire) == THREE
        # No save: a touch, other rights, something else in the folder.
        os.utime(path)
        assert watch.expect("unchanged")["generation"] == 6
        elsewhere.chmod(0o640)
        path.with_name("other.pcn").write_text("x")
        assert watch.is_silent(1.5)
        # Gone, and back as it was, and as another.
        elsewhere.unlink()
        assert watch.expect("gone")["generation"] == 6
        assert dropped(wire) == THREE
        elsewhere.write_text(version(THREE))
        watch.expect("unchanged")
        elsewhere.unlink()
        watch.expect("gone")
        elsewhere.write_text(version(ONE))
        assert watch.expect("swapped")["generation"] == 7
        status, said, errors = watch.interrupt()
    assert status == 130
    assert [(each["event"], each["generation"]) for each in said] == [("ended", 7)]
    assert "generation 7 stays in force" in errors
    assert dropped(wire) == ONE
    assert describe(service.name).generation == 7


def test_what_cannot_be_leaves_what_runs(wire: Wire, service: Service, path: Path) -> None:
    change_rules(service.name, [AddRule("sources", prefix(TWO))])
    with Watch(service, path) as watch:
        assert watch.expect("watching")["generation"] == 2
        path.write_text(version(THREE).replace("next;", "nixt;"))
        said = watch.expect("refused")
        (diagnostic,) = said["diagnostics"]
        assert (diagnostic["name"], diagnostic["line"], diagnostic["file"]) == ("unknown-action", 2, str(path))
        assert said["generation"] == 2
        # A table that does not hold the operator's rule any more.
        path.write_text(version(THREE).replace("size 64", "size 64\n        # other\n").replace("ipv4.src: lpm", "ipv4.src: exact"))
        refused = watch.expect("refused")
        assert "diagnostics" in refused or refused["error"]["name"] == "does-not-fit"
        path.write_bytes(b"service watched { \xff }")
        assert watch.expect("refused")["error"]["name"] == "not-utf-8"
        path.write_text("")
        assert watch.expect("refused")["diagnostics"]
        assert dropped(wire) == f"{ONE} {TWO}"
        # And the next that can be is taken.
        path.write_text(version(THREE))
        assert watch.expect("swapped")["generation"] == 3
        assert dropped(wire) == f"{TWO} {THREE}"


def test_what_does_not_fit_is_discarded_where_that_was_said(wire: Wire, service: Service, path: Path) -> None:
    change_rules(service.name, [AddRule("sources", prefix(TWO))])
    other = version(THREE).replace("sources", "origins")
    with Watch(service, path) as watch:
        watch.expect("watching")
        path.write_text(other)
        error = watch.expect("refused")["error"]
        assert "sources" in error["message"]
        assert dropped(wire) == f"{ONE} {TWO}"
        # Saved once more it is tried once more, since it is not what runs.
        os.utime(path)
        assert watch.expect("refused")["error"]["name"] == error["name"]
    with Watch(service, path, "--discard", "sources") as watch:
        watch.expect("watching")
        said = watch.expect("swapped")
        assert said["after"] is None
        assert dropped(wire) == THREE


def test_of_a_burst_of_saves_the_last_one_wins(wire: Wire, service: Service, path: Path) -> None:
    with Watch(service, path) as watch:
        watch.expect("watching")
        for number in range(40):
            renamed_over(path, version(ONE if number % 2 else TWO, f"# save {number}"))
            time.sleep(0.003)
        path.write_text(version(THREE))
        events = [watch.expect("swapped")]
        while not watch.is_silent(2):
            events.append(watch.next())
        assert [each["event"] for each in events if each["event"] != "unchanged"] == ["swapped"] * len(events)
        assert len(events) <= 4
        source = read_source(service.name)
        assert source is not None
        assert source.text == version(THREE)
        assert dropped(wire) == THREE


def test_from_another_folder_and_through_links(wire: Wire, service: Service, path: Path, tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "fw.pcn").symlink_to("../sources/watched.pcn")
    with Watch(service, "fw.pcn", folder=tmp_path / "links") as watch:
        watch.expect("watching")
        renamed_over(path, version(TWO))
        assert watch.expect("swapped")["file"] == "fw.pcn"
        assert dropped(wire) == TWO


def test_a_file_that_is_not_what_runs_is_swapped_in_at_once(wire: Wire, service: Service, path: Path) -> None:
    path.write_text(version(TWO))
    with Watch(service, path) as watch:
        watch.expect("watching")
        assert watch.expect("swapped")["generation"] == 2
        assert dropped(wire) == TWO
        # What others do is noticed, and the file can be saved over it.
        rollback(service.name)
        assert watch.expect("changed")["generation"] == 1
        assert dropped(wire) == ONE
        os.utime(path)
        assert watch.expect("swapped")["generation"] == 3
        assert dropped(wire) == TWO


def test_a_service_that_is_unloaded_ends_it(service: Service, path: Path) -> None:
    with Watch(service, path) as watch:
        watch.expect("watching")
        unload(service.name)
        said = watch.expect("ended")
        assert (said["error"]["name"], watch.process.wait(timeout=60)) == ("not-loaded", 1)
        assert "was unloaded meanwhile" in said["error"]["message"]


def test_another_service_of_that_name_is_left_alone(wire: Wire, service: Service, path: Path) -> None:
    with Watch(service, path) as watch:
        watch.expect("watching")
        service.run("unload").check()
        pcnc("load", path, "--name", service.name, "--dev", "eth0", within=wire.right).check()
        assert watch.expect("ended")["error"]["name"] == "not-loaded"
        assert watch.process.wait(timeout=60) == 1
    assert read_running(service.name).generation == 1


def test_what_cannot_be_watched_is_told(service: Service, path: Path) -> None:
    assert "error[no-such-file]" in pcnc("watch", service.name, path.with_name("none.pcn")).refused("no-such-file")
    pcnc("watch", service.name, path.parent).refused("is-a-folder")
    pcnc("watch", new_name(), path).refused("not-loaded")
    assert pcnc("watch", service.name, "-").is_civil().status == 2
    done = pcnc("watch", new_name(), path, "--json")
    assert (done.status, json.loads(done.output)["error"]["name"]) == (1, "not-loaded")


def test_a_refusal_by_the_verifier_is_told_on_its_line(wire: Wire, service: Service, path: Path, tmp_path: Path) -> None:
    changed = spoiling_clang(tmp_path, *BYTES)
    text = version(TWO, "stage last { if ipv4 {\n ipv4.ttl -= 1\n} }").replace("{ sources }", "{ sources; last }")
    command = [*COMMAND, "watch", service.name, str(path)]
    out, err = tmp_path / "out", tmp_path / "err"
    with out.open("w") as output, err.open("w") as errors:
        process = subprocess.Popen(command, env=environment(**changed), cwd=ROOT, stdout=output, stderr=errors)
        try:
            wait_for(out, r"is watched; generation 1 is in force")
            path.write_text(text)
            wait_for(out, r"verifier-refused; generation 1 stays in force")
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=60) == 130
    said = err.read_text()
    assert f"--> {path}:5:2\n" in said
    assert "ipv4.ttl -= 1\n" in said
    assert "offset is outside of the packet\n" in said
    assert dropped(wire) == ONE


def wait_for(path: Path, pattern: str) -> str:
    """What a file holds, as soon as it matches."""
    deadline = time.monotonic() + 60
    while not re.search(pattern, text := path.read_text()):
        assert time.monotonic() < deadline, text
        time.sleep(0.02)
    return text


# ---- as people see it


@contextmanager
def terminal(*command: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A command on a terminal of its own, and the other end of that."""
    ours, theirs = pty.openpty()
    variables = {**environment(TERM="xterm", COLUMNS="120")}
    del variables["NO_COLOR"]
    process = subprocess.Popen(
        command, env=variables, cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, close_fds=True
    )
    os.close(theirs)
    try:
        yield process, ours
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def read_until(end: int, pattern: str) -> str:
    """What comes from a terminal, up to what matches."""
    said, deadline = "", time.monotonic() + 60
    while not re.search(pattern, said):
        assert select.select([end], [], [], deadline - time.monotonic())[0], said
        said += os.read(end, 4096).decode()
    return said


def test_a_terminal_shows_what_is_watched_and_ctrl_c_leaves_it_running(wire: Wire, service: Service, path: Path) -> None:
    # `setsid --ctty` makes the terminal the one whose Ctrl-C counts.
    with terminal("setsid", "--ctty", "--wait", *COMMAND, "watch", service.name, str(path)) as (process, end):
        read_until(end, rf"generation 1 of {service.name} is in force; watching ")
        path.write_text(version(TWO).replace("chain", "chian"))
        said = read_until(end, r"1 error; generation 1 stays in force")
        assert "error[" in said
        path.write_text(version(TWO))
        said = read_until(end, r"generation 2 is in force [\d.]+ m?s after it was saved: sources: 1 added")
        read_until(end, rf"generation 2 of {service.name} is in force; watching ")
        os.write(end, b"\x03")
        said = read_until(end, r"pcnc: interrupted; .* is not watched any more; generation 2 stays in force")
        assert process.wait(timeout=60) == 130
    assert dropped(wire) == TWO
    assert describe(service.name).generation == 2


def test_a_pipe_gets_a_line_for_each_thing_that_happens(service: Service, path: Path, tmp_path: Path) -> None:
    out, err = tmp_path / "out", tmp_path / "err"
    with out.open("w") as output, err.open("w") as errors:
        process = subprocess.Popen(
            [*COMMAND, "watch", service.name, str(path)], env=environment(), cwd=ROOT, stdout=output, stderr=errors
        )
        try:
            wait_for(out, "is watched")
            path.write_text(version(TWO))
            wait_for(out, "generation 2 is in force")
            os.utime(path)
            wait_for(out, "saved as it was")
            path.write_text("nothing")
            wait_for(out, "1 error")
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=60) == 130
    shape = [
        r"N: \S+ is watched; generation 1 is in force",
        r"N: generation 2 is in force [\d.]+ m?s after it was saved: sources: 1 added \(id 2\), 1 removed \(id 1\); .*",
        r"N: saved as it was; generation 2 stays in force",
        r"N: 1 error; generation 2 stays in force",
    ]
    lines = out.read_text().splitlines()
    assert len(lines) == len(shape), lines
    for line, wanted in zip(lines, shape, strict=True):
        assert re.fullmatch(rf"\d\d:\d\d:\d\d  {wanted.replace('N', service.name)}", line), line
    assert err.read_text().endswith(f"pcnc: interrupted; {path} is not watched any more; generation 2 stays in force\n")
    assert "\x1b" not in out.read_text() + err.read_text()
