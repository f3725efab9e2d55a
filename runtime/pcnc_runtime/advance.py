"""One change of a running service: a new generation planned, built, put into force, and the report of it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property

from pcnc.manifest import Manifest, Variant
from pcnc.shape import Shape, shape_of
from pcnc_runtime.bundle_store import StoredBundle, StoredVariant, stored_source
from pcnc_runtime.changes import Change, Moves, Recompile, RuleChanges, SourceRecord
from pcnc_runtime.count_slots import capacity_for, give_slots
from pcnc_runtime.describe_change import bare_entry, complete_entry, entry_for, read_version, rule_changes
from pcnc_runtime.errors import RuntimeProblem
from pcnc_runtime.generation import Parent, build_generation, chains_of, is_whole, put_into_force, runs_in
from pcnc_runtime.grace import wait_for_packets
from pcnc_runtime.live_rules import LiveRule, shadowed
from pcnc_runtime.pins import remove_tree
from pcnc_runtime.records import AttachedAt, ChainRecord, Generation, State, TableRecord, What
from pcnc_runtime.recovery import end_chains, has_its_counts, is_in_order, not_loaded, recover, remove_everything, settle, tidy_up
from pcnc_runtime.refusals import compiled_from
from pcnc_runtime.state import Place, locked, place_of


@dataclass(slots=True)
class Loaded:
    """A loaded service, locked by who holds this, and since when the operation runs (`time.perf_counter`)."""

    place: Place
    state: State
    began: float
    _records: dict[int, Generation] = field(default_factory=dict)

    def record(self, number: int) -> Generation:
        """The record of a generation, read once."""
        if number not in self._records:
            self._records[number] = self.place.read_record(number)
        return self._records[number]

    def write(self, record: Generation) -> None:
        """Writes the record of a generation."""
        self.place.write_record(record)
        self._records[record.number] = record

    @property
    def live(self) -> Generation:
        """The generation in force."""
        return self.record(self.state.kept[0])

    @property
    def bundle(self) -> StoredBundle:
        """The bundle of the generation in force."""
        return StoredBundle(self.place.bundles / self.live.bundle)

    def switch(self, number: int, pending: State) -> float:
        """Puts a generation, pinned and written down, into force; `pending` is the whole with it as target. The seconds it took.

        Where this fails everything is as it was, and the exception goes on.
        """
        try:
            pending = self._fit_chains(number, pending)
            self.place.write(pending)
            flip = put_into_force(self.place, number)
        except BaseException:
            # Where a signal came after the last write, the next command finds the new generation in force, and goes on.
            if not all(runs_in(self.place, chain, number) for chain in chains_of(self.place)):
                self._switch_back()
            raise
        self.state = pending
        return flip

    def _fit_chains(self, number: int, pending: State) -> State:
        if pending.summaries[number].chains.keys() == self.state.summaries[self.state.kept[0]].chains.keys():
            return pending
        from pcnc_runtime.chain_entries import fit_chains

        record = self.record(number)
        bundle = StoredBundle(self.place.bundles / record.bundle)
        return replace(pending, attachments=fit_chains(self.place, self.state, record, bundle, self._tell))

    def _tell(self, attachments: tuple[AttachedAt, ...]) -> None:
        """Writes down what may be on devices from now on."""
        self.state = replace(self.state, attachments=attachments)
        self.place.write(self.state)

    def _switch_back(self) -> None:
        if put_into_force(self.place, self.state.kept[0]):
            wait_for_packets()
        try:
            self.place.write(self.state)
        finally:
            self.state = end_chains(self.place, self.state)

    def moves(self, record: Generation) -> Moves:
        """What `record`, which is in force but not settled, put on devices and is going to take off them."""
        old, new = self.state.summaries[self.state.kept[0]].chains, record.chains
        if old.keys() == new.keys():
            return Moves()
        from pcnc_runtime.attachments import attachment_states

        try:
            found = attachment_states(self.state)
        except RuntimeProblem:
            return Moves()  # it is in force; what the devices say of it is no reason to say that it failed
        return Moves(tuple(at for at in found if at.chain not in old), tuple(at for at in found if at.chain not in new))

    def go_back(self) -> Change:
        """Puts the previous generation into force. See `operations.rollback`."""
        if len(self.state.kept) < 2 or not self._is_whole(self.state.kept[1]):
            help = "only the generation before the last change is kept"
            raise RuntimeProblem("no-previous", f"`{self.place.name}` has no previous generation", help)
        live, previous = self.state.kept[:2]
        summary = replace(self.state.summaries[previous], since=time.time())
        read_version(self.place, summary)
        self.place.check_record(previous)
        # What there is to tell of it is found out when it is in force: the records of many rules take long to read.
        bare = bare_entry("rollback", previous, live, summary.since)
        summaries = {**self.state.summaries, previous: summary}
        pending = replace(self.state, target=(previous, live), summaries=summaries, coming=bare)
        flip = self.switch(previous, pending)
        in_force = time.perf_counter() - self.began
        entry, changes = complete_entry(self.place, bare, self.record)
        self.state = replace(self.state, coming=entry)
        moves, warnings = self.moves(self.record(previous)), self.settle()
        return Change(
            name=self.place.name,
            what="rollback",
            generation=previous,
            previous=live,
            in_force=in_force,
            flip=flip,
            variant=entry.variant,
            exact=entry.exact,
            compiled=False,
            programs=0,
            rules=changes,
            settings=entry.settings,
            attachments=moves.attached,
            detached=moves.detached,
            warnings=warnings,
        )

    def _is_whole(self, number: int) -> bool:
        return is_whole(self.place, number, self.state.summaries[number].chains)

    def settle(self) -> tuple[str, ...]:
        """Lets go of what was replaced, now that the target is in force; a warning where that has to wait for the next command."""
        try:
            self.state = settle(self.place, self.state, self.record)
        except (RuntimeProblem, OSError) as error:
            why = error.message if isinstance(error, RuntimeProblem) else error.strerror or str(error)
            return (f"the change is in force, but what it replaced is still there ({why}): the next command tries again",)
        return ()


@contextmanager
def opened(name: str) -> Iterator[Loaded]:
    """A loaded service, locked and in order. RuntimeProblem `not-loaded`, `busy`, `pins-lost`, `records-lost`."""
    began = time.perf_counter()
    place = place_of(name)
    if not place.exists():
        raise not_loaded(name)
    with locked(name):
        state = recover(place)
        if state is None:
            remove_everything(place)
            raise not_loaded(name)
        try:
            yield Loaded(place, state, began)
        except BaseException:
            tidy_up(place)
            raise


def no_such_table(manifest: Manifest, table: str) -> RuntimeProblem:
    """The problem `no-such-table`."""
    known = ", ".join(f"`{entry.schema.name}`" for entry in manifest.tables)
    help = f"there are {known}" if known else "it has none"
    return RuntimeProblem("no-such-table", f"service `{manifest.service}` has no table `{table}`", help)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the next generation is to be. `rules` and `next_ids` are of every table of the manifest."""

    what: What
    bundle: StoredBundle
    manifest: Manifest
    source: str
    settings: Mapping[str, int]
    rules: Mapping[str, Sequence[LiveRule]]
    next_ids: Mapping[str, int]
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Chosen:
    """The code that is going to run."""

    variant: StoredVariant
    exact: bool
    compiled: bool = False
    notes: tuple[str, ...] = ()


def choose_variant(bundle: StoredBundle, shape: Shape, source: SourceRecord | None, recompile: Recompile | None) -> Chosen:
    """The variant made for a shape, else one that is compiled for it now, else the smallest that covers it."""
    if exact := bundle.exact(shape):
        return Chosen(exact, True)
    notes: tuple[str, ...] = ()
    if recompile is None or source is None:
        why = "there is no source to compile again" if source is None else "no compiler was asked for"
    else:
        try:
            built = recompile(source, shape)
        except RuntimeProblem as problem:
            if problem.name not in ("no-clang", "no-bcc"):
                raise
            why = problem.message
        else:
            if not built.variant.shape.covers(shape):
                raise RuntimeProblem(
                    "broken-bundle", "what was compiled does not cover the rules", "this is a fault of the compiler"
                )
            return Chosen(bundle.add(built.variant, built.files), built.variant.shape == shape, True)
    covering = bundle.covering(shape)
    notes = (f"runs by the wider variant `{covering.variant.name}`: {why}",)
    return Chosen(covering, False, False, notes)


@dataclass(frozen=True)
class Step:
    """From the live generation to a wanted one."""

    loaded: Loaded
    wanted: Wanted
    recompile: Recompile | None = None

    @cached_property
    def shape(self) -> Shape:
        """The shape of the wanted rules."""
        rules = {table: [live.rule for live in each] for table, each in self.wanted.rules.items()}
        return shape_of(self.wanted.manifest.schemas, rules)

    @cached_property
    def changes(self) -> tuple[RuleChanges, ...]:
        """What becomes of the rules, of tables where something does."""
        return rule_changes(self.loaded.live, self.wanted.rules)

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """Those of the edits, and of rules that can never match."""
        found = list(self.wanted.warnings)
        for changed in self.changes:
            schema = self.wanted.manifest.table(changed.table).schema
            found += shadowed(schema, self.wanted.rules[changed.table], frozenset((*changed.added, *changed.replaced)))
        return tuple(found)

    def preview(self) -> Change:
        """What would be reported; nothing is done."""
        exact = self.wanted.bundle.exact(self.shape)
        can_compile = exact is None and self.recompile is not None and bool(self.wanted.source)
        variant = exact or (None if can_compile else self.wanted.bundle.covering(self.shape))
        number = self.loaded.state.last + 1
        from pcnc_runtime.attachments import planned_moves

        moves = planned_moves(self.loaded.state.attachments, self.loaded.live.chains, self.wanted.manifest.entries)
        chosen = "" if variant is None else variant.variant.name
        return replace(
            self._report(number, chosen, exact is not None or can_compile, can_compile, ()),
            programs=sum(len(chain.blocks) for chain in variant.variant.chains) if variant else 0,
            attachments=moves.attached,
            detached=moves.detached,
            dry_run=True,
        )

    def take(self) -> Change:
        """Builds the generation and puts it into force. Before that is done, a failure leaves everything as it was."""
        place, state, wanted = self.loaded.place, self.loaded.state, self.wanted
        source = stored_source(wanted.source, place.sources) if self.recompile else None
        chosen = choose_variant(wanted.bundle, self.shape, source, self.recompile)
        parent = None
        if is_in_order(place, state) and has_its_counts(place, state):
            live = self.loaded.live
            parent = Parent(live, self.loaded.bundle.variant(live.variant).variant)
        kept = [self.loaded.record(number) for number in state.kept] if parent and _counts(wanted.manifest) else []
        planner = Planner(wanted, chosen, parent.record if parent else None, kept, state.last_map)
        record = planner.plan(state.last + 1)
        old = (self.loaded.live, parent.variant if parent else None)
        entry = entry_for(place, wanted.what, (record, chosen.variant.variant), old, self.changes, compiled=chosen.compiled)
        try:
            with compiled_from(lambda: stored_source(wanted.source, place.sources)):
                programs = build_generation(place, record, wanted.manifest, chosen.variant, parent)
            self.loaded.write(record)
            pending = replace(
                state,
                target=(record.number, *state.kept[:1]),
                last=record.number,
                last_map=planner.last_map,
                summaries={**state.summaries, record.number: record.summary},
                next_ids=wanted.next_ids,
                coming=entry,
            )
            flip = self.loaded.switch(record.number, pending)
        except BaseException:
            if not any(runs_in(place, chain, record.number) for chain in chains_of(place)):
                remove_tree(place.generation(record.number))
                place.record(record.number).unlink(missing_ok=True)
                others = [self.loaded.record(number) for number in state.kept]
                if chosen.compiled and all((each.bundle, each.variant) != (record.bundle, record.variant) for each in others):
                    # What could not be loaded is compiled anew the next time, maybe by a compiler that has been mended.
                    chosen.variant.discard()
            raise
        in_force = time.perf_counter() - self.loaded.began
        report = self._report(record.number, chosen.variant.variant.name, chosen.exact, chosen.compiled, chosen.notes)
        moves, warnings = self.loaded.moves(record), (*report.warnings, *self.loaded.settle())
        made = replace(report, in_force=in_force, flip=flip, programs=programs, warnings=warnings, settings=entry.settings)
        return replace(made, attachments=moves.attached, detached=moves.detached)

    def _report(self, number: int, variant: str, exact: bool, compiled: bool, notes: tuple[str, ...]) -> Change:
        return Change(
            name=self.loaded.place.name,
            what=self.wanted.what,
            generation=number,
            previous=self.loaded.state.kept[0],
            in_force=0.0,
            flip=0.0,
            variant=variant,
            exact=exact,
            compiled=compiled,
            programs=0,
            rules=self.changes,
            warnings=self.warnings,
            notes=(*self.wanted.notes, *notes),
        )


def _counts(manifest: Manifest) -> bool:
    return any(table.count_packets or table.count_bytes for table in manifest.tables)


class Planner:
    """Decides which maps of counts the next generation shares with the live one, and which slot each rule has."""

    def __init__(self, wanted: Wanted, chosen: Chosen, live: Generation | None, kept: Sequence[Generation], last_map: int) -> None:
        self._wanted, self._chosen, self._live, self._kept = wanted, chosen, live, kept
        self.last_map = last_map

    def plan(self, number: int) -> Generation:
        """The record of the next generation."""
        wanted, chosen = self._wanted, self._chosen
        return Generation(
            number=number,
            bundle=wanted.bundle.digest,
            source=wanted.source,
            variant=chosen.variant.key,
            exact=chosen.exact,
            what=wanted.what,
            since=time.time(),
            settings=wanted.settings,
            tables={table.schema.name: self._table(table.schema.name) for table in wanted.manifest.tables},
            chains=self._chains(chosen.variant.variant),
        )

    def _next_map(self) -> int:
        self.last_map += 1
        return self.last_map

    def _chains(self, variant: Variant) -> dict[str, ChainRecord]:
        chains: dict[str, ChainRecord] = {}
        for chain in variant.chains:
            old = self._live.chains.get(chain.chain) if self._live else None
            shared = old is not None and old.reasons == chain.reasons
            chains[chain.chain] = ChainRecord(old.verdicts if old and shared else self._next_map(), chain.reasons)
        return chains

    def _table(self, name: str) -> TableRecord:
        entry = self._wanted.manifest.table(name)
        rules = tuple(self._wanted.rules[name])
        if not entry.count_packets and not entry.count_bytes:
            if any(rule.slot for rule in rules):
                rules = tuple(replace(rule, slot=0) for rule in rules)
            return TableRecord(rules)
        capacity = capacity_for(entry.schema.size)
        old = self._live.tables.get(name) if self._live else None
        given = give_slots(name, rules, capacity, old, self._kept)
        if old is not None and given is not None:
            return old if given is old.rules else TableRecord(given, old.counters, capacity)
        renumbered = tuple(replace(rule, slot=slot) for slot, rule in enumerate(rules, start=1))
        return TableRecord(renumbered, self._next_map(), capacity)
