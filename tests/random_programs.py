"""Programs and rules at random, as PCN text: tables of every kind, guarded reads, assignments, branches, per-packet state."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from tests.random_packets import ADDRESSES4, ADDRESSES6, MACS, PORTS

FIELDS: dict[str, tuple[tuple[str, str, bool], ...]] = {
    "eth": (("src", "mac", True), ("dst", "mac", True), ("type", "ether_type", False)),
    "vlan": (("id", "12", True), ("priority", "3", True), ("type", "ether_type", False)),
    "vlan.inner": (("id", "12", True), ("priority", "3", True)),
    "arp": (("sender_ip", "ipv4", True), ("sender_mac", "mac", True), ("op", "arp_op", False)),
    "ipv4": (("src", "ipv4", True), ("dst", "ipv4", True), ("ttl", "8", True), ("dscp", "6", True), ("id", "16", True),
             ("length", "16", False), ("proto", "ip_proto", False), ("checksum", "16", False), ("dont_fragment", "1", True)),
    "ipv6": (("src", "ipv6", True), ("dst", "ipv6", True), ("hop_limit", "8", True), ("flow_label", "20", True),
             ("traffic_class", "8", True)),
    "tcp": (("sport", "16", True), ("dport", "16", True), ("seq", "32", True), ("window", "16", True), ("checksum", "16", False)),
    "udp": (("sport", "16", True), ("dport", "16", True), ("checksum", "16", False)),
    "l4": (("sport", "16", True), ("dport", "16", True), ("checksum", "16", False)),
    "icmp": (("code", "8", True), ("id", "16", True), ("sequence", "16", True)),
    "icmpv6": (("code", "8", True), ("id", "16", True)),
    "echo": (("a", "5", True), ("b", "11", True), ("c", "24", True), ("d", "64", True), ("e", "1", True), ("f", "7", True)),
    "lldp": (("kind", "7", True), ("length", "9", True), ("far", "40", True), ("e", "3", True), ("f", "37", True)),
}  # fmt: skip
IMPLIED = {"vlan.inner": ("vlan",), "icmp": ("ipv4",), "echo": ("icmp", "ipv4"), "tcp": ("l4",), "udp": ("l4",)}
HEADERS = """
header echo after icmp when icmp.type == 8 { a: u5; b: u11; c: u24; d: u64; e: u1; f: u7 }
header lldp after eth when eth.type == 0x88cc, vlan when vlan.type == 0x88cc {
    kind: u7; length: u9; sum: u16; far: u40; e: u3; f: u37
    checksum sum covers header
}
"""
"""Headers of the program's own: odd widths, and a sum that covers them or is theirs."""

GUARDS = ("echo", "lldp", "vlan", "vlan.inner", "arp", "ipv4", "ipv6", "tcp", "udp", "l4", "icmp", "icmpv6")
COLUMNS = tuple(
    pair.split(":")
    for pair in (
        "ipv4.src:ipv4 ipv4.dst:ipv4 ipv4.proto:ip_proto ipv4.ttl:8 ipv4.dscp:6 ipv6.src:ipv6 ipv6.dst:ipv6 eth.src:mac "
        "eth.dst:mac l4.dport:16 tcp.sport:16 udp.dport:16 vlan.id:12 vlan.inner.id:12 m0:16 arp.sender_ip:ipv4 icmp.code:8 "
        "m2:ipv6 m3:mac m6:64 echo.a:5 echo.d:64 lldp.far:40 ipv6.flow_label:20"
    ).split()
)


MOST_BLOCKS = 26
"""Of a program: a chain has at most 30 on the longest way, the parser and an end included."""

METAS = tuple(
    f"meta {declared}"
    for declared in ("m0: u16", "m1: u8", "m2: ipv6_addr", "m3: mac_addr", "m4: bool", "m5: ipv4_addr", "m6: u64")
)
META_OF = {"ipv6": "m2", "mac": "m3", "ipv4": "m5"}


@dataclass
class Scope:
    """What may be read at a place: headers known to be present, and locals by width."""

    headers: tuple[str, ...] = ("eth",)
    locals: dict[str, int] = field(default_factory=dict)

    def with_header(self, header: str) -> Scope:
        """The scope behind a guard."""
        return Scope((*self.headers, header, *IMPLIED.get(header, ())), dict(self.locals))


class ProgramWriter:
    """Writes one program; the same seed writes the same one."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.tables: dict[str, tuple[list[tuple[str, str, str]], bool, list[str]]] = {}
        self.locals = 0
        self.blocks = 0

    def service(self) -> str:
        """The text of a whole file."""
        random = self.random
        tables = [self.table(f"t{index}") for index in range(random.randint(1, 3))]
        chains = [f"chain ingress {{\n{self.steps(2)}\n}}"]
        if random.random() < 0.3:
            chains.append(f"chain egress {{\n{self.steps(1)}\n}}")
        actions = [
            "action set_meta(value: u16) { m0 = value }",
            f"action mark(value: u8, where: ipv4_addr) {{\n{self.body(Scope(), 2, {'value': 8})}\n}}",
            "action wide(a: ipv6_addr, b: mac_addr, c: u64, d: bool) {\nm2 = a ^ m2; m3 = b; m4 = d\n"
            f"{self.body(Scope(), 1, {'c': 64})}\n}}",
            "action both(c: u64, a: ipv6_addr) {\nwide(a, m3, c, m6 > c)\n"
            f"{self.body(Scope(), 0, {'c': 64})}\nset_meta(u16(c))\n}}",
        ]
        members = [*METAS, "config limit: u16 = 1024", *actions, *tables, *chains]
        return HEADERS + "service random {\n" + "\n".join(members) + "\n}\n"

    def table(self, name: str) -> str:
        """A table, ordered or not, with one to four columns."""
        random = self.random
        ordered = random.random() < 0.5
        columns: list[tuple[str, str, str]] = []
        for column, type in random.sample(COLUMNS, random.randint(1, 4)):
            if ordered:
                kinds = ["exact", "ternary", "range"] + (["prefix"] if type in ("ipv4", "ipv6") else [])
            else:
                has_lpm = any(kind == "lpm" for _, _, kind in columns)
                kinds = ["exact"] + (["lpm"] * 3 if type in ("ipv4", "ipv6") and not has_lpm else [])
            columns.append((column, type, random.choice(kinds)))
        actions = ["drop", "next", "set_meta"] + (["pass"] if random.random() < 0.5 else [])
        actions += [name for name in ("mark", "wide", "both") if random.random() < 0.5]
        self.tables[name] = columns, ordered, actions
        default = random.choice(("drop", "next", "next", "set_meta(7)"))
        lines = ["match " + ", ".join(f"{column}: {kind}" for column, _, kind in columns), "action " + ", ".join(actions)]
        lines += [f"default {default}", "size 1k"] + (["order first"] if ordered else [])
        lines += [random.choice(("count packets, bytes", "count packets"))] if random.random() < 0.7 else []
        return f"table {name} {{\n" + "\n".join(lines) + "\n}"

    def rules(self, name: str, count: int) -> list[str]:
        """Rules for a table; the same match may come twice."""
        columns, ordered, actions = self.tables[name]
        found = {}
        for _ in range(count):
            conditions = []
            for column, type, kind in columns:
                if (kind != "exact" or ordered) and self.random.random() < 0.25:
                    conditions.append(f"{column}=*")
                    continue
                conditions.append(f"{column}={self.pattern(type, kind)}")
            found[", ".join(conditions)] = self.action_call(self.random.choice(actions))
        return [f"{match} -> {action}" for match, action in found.items()]

    def action_call(self, name: str) -> str:
        """An action with arguments."""
        if name == "set_meta":
            return f"set_meta({self.random.choice(PORTS)})"
        if name == "mark":
            return f"mark({self.random.getrandbits(8)}, {self.random.choice(ADDRESSES4)})"
        if name == "wide":
            flag = self.random.choice(("true", "false"))
            return f"wide({self.value('ipv6')}, {self.value('mac')}, {self.random.getrandbits(64)}, {flag})"
        if name == "both":
            return f"both({self.value('64')}, {self.value('ipv6')})"
        return name

    def value(self, type: str) -> str:
        """A literal of a type."""
        random = self.random
        match type:
            case "ipv4":
                return random.choice(ADDRESSES4)
            case "ipv6":
                return random.choice(ADDRESSES6)
            case "mac":
                return random.choice(MACS)
            case "ip_proto":
                return random.choice(("6", "17", "1"))
            case "ether_type":
                return random.choice(("0x0800", "0x86dd", "0x8100"))
            case "arp_op":
                return random.choice(("1", "2"))
            case "16":
                return str(random.choice(PORTS))
            case bits:
                return str(random.choice((0, 1, (1 << int(bits)) - 1, random.getrandbits(int(bits)))))

    def pattern(self, type: str, kind: str) -> str:
        """What a rule asks of a column."""
        random = self.random
        bits = {"ipv4": 32, "ipv6": 128, "mac": 48, "ip_proto": 8, "ether_type": 16, "arp_op": 16}.get(type) or int(type)
        if kind in ("lpm", "prefix") and type in ("ipv4", "ipv6") and random.random() < 0.8:
            import ipaddress

            length = random.choice((0, 1, 8, 9, 16, 24, 31, 32) if bits == 32 else (0, 1, 16, 32, 48, 64, 65, 127, 128))
            return str(ipaddress.ip_network(f"{self.value(type)}/{length}", strict=False))
        if kind == "range" and type not in ("ipv4", "ipv6", "mac"):
            low = random.randrange(1 << bits)
            return f"{low}..{random.randrange(low, 1 << bits)}"
        if kind == "ternary" and type not in ("ipv4", "ipv6", "mac"):
            mask = random.getrandbits(bits)
            return f"{random.getrandbits(bits) & mask:#x} &&& {mask:#x}"
        return self.value(type)

    # ---- statements

    def steps(self, depth: int) -> str:
        """The steps of a chain."""
        random = self.random
        lines = []
        for _ in range(random.randint(1, 4)):
            if self.blocks == MOST_BLOCKS:
                break
            self.blocks += 1
            choice = random.random()
            if choice < 0.5:
                lines.append(random.choice(list(self.tables)))
            elif choice < 0.8 or not depth:
                self.locals += 1
                lines.append(f"stage s{self.locals} {{\n{self.body(Scope(), 2, {})}\n}}")
            else:
                other = f" else {{\n{self.steps(depth - 1)}\n}}" if random.random() < 0.5 else ""
                lines.append(f"if {self.condition(Scope(), 1)} {{\n{self.steps(depth - 1)}\n}}{other}")
        return "\n".join(lines)

    def body(self, scope: Scope, depth: int, locals: dict[str, int]) -> str:
        """Statements, at least one."""
        random = self.random
        scope = Scope(scope.headers, {**scope.locals, **locals})
        lines = []
        for _ in range(random.randint(1, 3)):
            choice = random.random()
            if choice < 0.35 and depth:
                guard = random.choice(GUARDS)
                inner = self.body(scope.with_header(guard), depth - 1, {})
                if random.random() < 0.5:
                    inner += f"\n{random.choice(('drop', 'next', 'pass'))}" if random.random() < 0.4 else ""
                other = f" else {{\n{self.body(scope, depth - 1, {})}\n}}" if random.random() < 0.3 else ""
                lines.append(f"if {guard} {{\n{inner}\n}}{other}")
            elif choice < 0.45 and depth:
                inner = self.body(scope, depth - 1, {})
                lines.append(f"if {self.condition(scope, 2)} {{\n{inner}\n}}")
            elif choice < 0.55:
                lines.append(f"m0 = {self.number(scope, 16, 2)}")
            elif choice < 0.6:
                lines.append(f"m1 = {self.number(scope, 8, 2)}")
            elif choice < 0.64:
                lines.append(f"m6 = {self.number(scope, 64, 2)}")
            elif choice < 0.68:
                type = random.choice(list(META_OF))
                lines.append(f"{META_OF[type]} = {self.address(scope, type)}")
            elif choice < 0.7:
                lines.append(f"m4 = {self.condition(scope, 1)}")
            elif choice < 0.78:
                self.locals += 1
                bits = random.choice((8, 16, 32, 12, 48, 64))
                lines.append(f"let x{self.locals} = {self.number(scope, bits, 2)}")
                scope.locals[f"x{self.locals}"] = bits
            else:
                lines.append(self.assignment(scope))
        return "\n".join(lines)

    def assignment(self, scope: Scope) -> str:
        """Writes a field that can be written here."""
        header = self.random.choice([header for header in scope.headers if header in FIELDS])
        name, type, _ = self.random.choice([entry for entry in FIELDS[header] if entry[2]])
        target = f"{header}.{name}"
        if type in ("ipv4", "ipv6", "mac"):
            return f"{target} = {self.address(scope, type)}"
        if self.random.random() < 0.3:
            return f"{target} {self.random.choice(('+=', '-=', '|=', '&='))} {self.value(type)}"
        return f"{target} = {self.number(scope, int(type), 2)}"

    def address(self, scope: Scope, type: str) -> str:
        """An expression of an address type."""
        random = self.random
        same = [f"{h}.{n}" for h in scope.headers if h in FIELDS for n, t, _ in FIELDS[h] if t == type] + [META_OF[type]]
        choice = random.random()
        if choice < 0.4:
            return random.choice(same)
        if choice < 0.6:
            return f"({random.choice(same)} {random.choice('&|^')} {self.value(type)})"
        if choice < 0.8 and type != "ipv6":
            name, bits = ("ipv4_addr", 32) if type == "ipv4" else ("mac_addr", 48)
            return f"{name}({self.number(scope, bits, 1)})" if random.random() < 0.7 else f"(~{random.choice(same)})"
        return self.value(type)

    def number(self, scope: Scope, bits: int, depth: int) -> str:
        """An expression of type u<bits>."""
        random = self.random
        choice = random.random()
        if depth and choice < 0.4:
            left = self.number(scope, bits, depth - 1)
            operator = random.choice(("+", "-", "*", "&", "|", "^", "/", "%"))
            return f"({left} {operator} {self.number(scope, bits, depth - 1)})"
        if depth and choice < 0.5:
            return f"({self.number(scope, bits, depth - 1)} {random.choice(('<<', '>>'))} {random.randrange(bits)})"
        if depth and choice < 0.55:
            return f"({self.number(scope, bits, depth - 1)} {random.choice(('<<', '>>'))} {self.number(scope, bits, 0)})"
        if depth and choice < 0.6:
            return f"(~{self.number(scope, bits, depth - 1)})"
        readable = [f"{h}.{n}" for h in scope.headers if h in FIELDS for n, t, _ in FIELDS[h] if t.isdigit()]
        readable += [f"u32({h}.{n})" for h in scope.headers if h in FIELDS for n, t, _ in FIELDS[h] if t == "ipv4"]
        readable += [f"u64({h}.{n})" for h in scope.headers if h in FIELDS for n, t, _ in FIELDS[h] if t == "mac"]
        readable += ["m0", "m1", "m6", "u8(m4)", "u32(m5)", "u64(m3)", "limit", "packet.length", *scope.locals]
        return f"u{bits}({random.choice(readable)})"

    def condition(self, scope: Scope, depth: int) -> str:
        """A bool."""
        random = self.random
        choice = random.random()
        if depth and choice < 0.3:
            return f"({self.condition(scope, depth - 1)} {random.choice(('and', 'or'))} {self.condition(scope, depth - 1)})"
        if depth and choice < 0.4:
            return f"not ({self.condition(scope, depth - 1)})"
        if choice < 0.5:
            return random.choice(GUARDS)
        if choice < 0.6:
            return random.choice(("m4", "eth.dst.is_multicast", "m3.is_broadcast", "m5.is_multicast", "m2.is_multicast", "m6 > 7"))
        header = random.choice([header for header in scope.headers if header in FIELDS])
        name, type, _ = random.choice(FIELDS[header])
        left = f"{header}.{name}"
        if type in ("ipv4", "ipv6") and random.random() < 0.7:
            return f"{left} in {self.pattern(type, 'prefix')}"
        if type.isdigit() and random.random() < 0.4:
            return f"{left} in {self.pattern(type, 'range')}"
        operator = random.choice(("==", "!=", "<", ">=") if type.isdigit() else ("==", "!="))
        return f"{left} {operator} {self.value(type)}"
