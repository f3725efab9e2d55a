"""One meaning: random programs, rules and packets give the same verdict, bytes, reason and counts in interpreter and kernel."""

from __future__ import annotations

import errno
from random import Random

import pytest

from pcnc.compile import check
from pcnc.interpret import Interpreter
from pcnc.manifest import Hook, Toolchain
from pcnc.rule_reader import read_rules
from pcnc.rules import Rule, TableSchema
from pcnc.source import Source
from pcnc_ebpf.plan import plan_manifest
from pcnc_runtime.trial import Trial
from tests.agreement import compiler
from tests.random_packets import random_frame
from tests.random_programs import ProgramWriter

PACKETS = 150


def random_rules(writer: ProgramWriter, schema: TableSchema, random: Random) -> list[Rule]:
    """Rules that a table may hold: none, few or a dozen, each match once."""
    lines = writer.rules(schema.name, random.choice((0, 1, 3, 12)))
    rules, problems = read_rules(Source("rules", "\n".join(lines)), schema)
    assert not problems
    return list({rule.matches: rule for rule in rules}.values())


@pytest.mark.kernel
@pytest.mark.parametrize("hook", ["xdp", "tc"])
@pytest.mark.parametrize("pruned", [True, False], ids=["pruned", "whole"])
@pytest.mark.parametrize("seed", range(8))
def test_random_programs(seed: int, hook: Hook, pruned: bool) -> None:
    try_random_program(seed, hook, pruned, "clang")


@pytest.mark.kernel
@pytest.mark.bcc
@pytest.mark.parametrize(("seed", "hook", "pruned"), [(8, "xdp", True), (9, "xdp", False), (10, "tc", True), (11, "tc", False)])
def test_random_programs_by_bcc(seed: int, hook: Hook, pruned: bool) -> None:
    try_random_program(seed, hook, pruned, "bcc")


def try_random_program(seed: int, hook: Hook, pruned: bool, toolchain: Toolchain) -> None:
    random = Random(f"{seed} {hook} {pruned}")
    writer = ProgramWriter(random)
    program = check(Source("random.pcn", writer.service())).program
    (service,) = program.services
    rules = {schema.name: random_rules(writer, schema, random) for schema in service.schemas}
    manifest, _ = plan_manifest(program, service, hook, [])
    interpreter = Interpreter(program, service, rules)

    with Trial(manifest, compiler(program, service, hook, widest=not pruned, toolchain=toolchain)) as trial:
        for table, held in rules.items():
            trial.set_rules(table, held)
        tried = 0
        for number in range(PACKETS):
            if number == PACKETS // 2:
                # What runs is changed: some rules go, some stay with their counts, some come, and the setting is another one.
                for table, held in rules.items():
                    schema = next(schema for schema in service.schemas if schema.name == table)
                    changed = held[::2] + random_rules(writer, schema, random)
                    rules[table] = list({rule.matches: rule for rule in changed}.values())
                    interpreter.set_rules(table, rules[table])
                    trial.set_rules(table, rules[table])
                limit = random.choice((0, 80, 0xFFFF))
                interpreter.set_config("limit", limit)
                trial.set_config("limit", limit)
            frame, chain = random_frame(random), random.choice([chain.name for chain in service.chains])
            try:
                actual = trial.run(chain, frame)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                # TEST_RUN itself refuses, at TC, an IP frame without room for the IP header.
                continue
            tried += 1
            meant = interpreter.run(chain, frame)
            left = meant.frame if meant.verdict != "drop" else frame
            assert (actual.verdict, actual.reason, actual.frame.hex()) == (meant.verdict, meant.reason, left.hex()), frame.hex()
        assert tried > PACKETS / 2
        for counted in service.tables:
            for number in range(len(rules[counted.name]) + 1):
                count = interpreter.counters.get((counted.name, number))
                if counted.count_packets:
                    assert trial.counter(counted.name, number, "packets") == (count.packets if count else 0)
                if counted.count_bytes:
                    assert trial.counter(counted.name, number, "bytes") == (count.bytes if count else 0)
