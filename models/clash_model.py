"""Explicit-state model of reverted decisions (docs/adr/0008) and voids: two accounts, one ledger with unique keys, three
workers and a sweeper. ledger_model.py covers unknown outcomes and unsynced trims of one account. This model leaves them out,
so a publish is one acknowledged step. Every other step is the same, and a process may crash between any two steps.

A record is (account, command, hash, kind, wager, delta). Kind A applies a wager, kind V voids it.
An entry is (account, seq, command, hash, keys, accepted, delta).
"""
from ledger_model import Violation

IDLE, LEDGER, RELAY, CAS, REVERT, REVERT_CAS = range(6)
X0, X1 = (0, "X", 1, "A", "x0", -5), (1, "X", 2, "A", "x1", 7)
Y1, Z1 = (1, "Y", 1, "A", "y", -12), (1, "Z", 1, "A", "z", -5)
A, A_OTHER = (0, "A", 1, "A", "w", -5), (0, "A", 2, "A", "w", -6)
B = (0, "B", 1, "A", "b", -8)
V, V2, V_WRONG = (0, "V", 1, "V", "w", 0), (0, "V2", 1, "V", "w", 0), (1, "V", 1, "V", "w", 0)
INPUTS = {
    "shared id":  ((X0,), (X1, Y1), (Z1,)),         # one id for two players, and a second process on the slower account
    "shared, twice": ((X0, X0), (X1,), (X1, Y1)),   # the same, with the slower player's command in both processes
    "voids":      ((A, B), (V,), (V2,)),            # a void before or after its wager, and a second void with another id
    "voids, conflict": ((A, V), (A_OTHER,), (B,)),
    "wrong name": ((A,), (V_WRONG,), (V,)),
}
DEFAULT = dict(crashes=2,
               relay_below=True,        # the tail is relayed before the next decision
               keeps_before=True,       # the state before the latest decision is stored and restored
               revert_compares=True,    # a revert is a compare-and-set
               revert_raises=True,      # a revert raises the version
               latest_only=True,        # only the latest decision is reverted
               row_first=True,          # no event is published before its row is written
               unique_keys=True,        # the ledger accepts only one row per key
               void_is_outcome=True,    # an ApplyWager searches the voids for its wager
               void_reads_wager=True)   # a void reads the amount of its wager


class Model:
    def __init__(self, inputs, **flags):
        assert all(name in DEFAULT for name in flags), flags
        self.f = DEFAULT | flags
        self.parts = INPUTS[inputs]

    @staticmethod
    def key(s):
        return hash(s)

    def start(self):
        account = (0, 10, 1, (), None)                       # version, balance, next seq, tail, before
        worker = (IDLE, (), (), (), ())                      # pc, snapshot, queue, seen, step after the queue
        n = len(self.parts)
        # 0 accounts 1 ledger 2 topic 3 workers and the sweeper 4 offsets 5 answers 6 crashes
        return ((account, account), (), (), (worker,) * (n + 1), (0,) * n, (), self.f["crashes"])

    # -- what the code does ---------------------------------------------------------------------------------------
    def keys(self, r):
        return ("c:" + r[1], ("w:" if r[3] == "A" else "v:") + r[4])

    def wanted(self, r):
        if r[3] == "A":
            return ("c:" + r[1], "w:" + r[4]) + (("v:" + r[4],) if self.f["void_is_outcome"] else ())
        return ("c:" + r[1], "v:" + r[4])

    def answer(self, r, found):
        for k in self.wanted(r):
            for e in found:
                if k in e[4]:
                    return e, k.startswith("v:") and not e[2] == r[1]
        return None, False

    def steps(self, s):
        for i in range(len(s[3])):
            yield from self.work(s, i)
            w = s[3][i]
            for p in (0, 1):
                gone = tuple(e for e in s[0][p][3] if (p, e[1]) in w[3])
                if gone:
                    yield self.step(s, False, f"{self.name(i)} trims {gone}", lambda st, p=p, gone=gone: self.trim(st, p, gone))
            if s[6] and w != (IDLE, (), (), (), ()):
                def crash(st, i=i):
                    st[6] -= 1
                    self.put(st, i, (IDLE, (), (), (), ()))
                yield self.step(s, True, f"{self.name(i)} crashes", crash)

    def name(self, i):
        return "S" if i == len(self.parts) else f"W{i + 1}"

    def work(self, s, i):
        pc, snap, q, seen, after = s[3][i]
        sweeper = i == len(self.parts)
        r = None if sweeper else (self.parts[i][s[4][i]] if s[4][i] < len(self.parts[i]) else None)
        name = self.name(i)
        if pc == IDLE and sweeper:
            for p in (0, 1):
                todo = tuple(e for e in s[0][p][3] if (p, e[1]) not in seen)
                if todo:
                    yield self.step(s, False, f"S reads tail of {p}", lambda st, todo=todo: self.put(
                        st, i, (RELAY, (), tuple((e, True) for e in todo), seen, ("stop",))))
        elif pc == IDLE and r:
            yield self.step(s, False, f"{name} takes {r[1]} of {r[0]}, reads account",
                            lambda st: self.put(st, i, (LEDGER, st[0][r[0]], (), seen, ())))
        elif pc == LEDGER:
            yield self.step(s, False, f"{name} reads ledger", lambda st: self.look(st, i, r, snap, seen))
        elif pc == RELAY:
            yield self.step(s, False, f"{name} relays {q[0][0]}", lambda st: self.relay(st, i, q, seen, snap, after))
        elif pc == CAS:
            yield self.step(s, False, f"{name} compare-and-set", lambda st: self.write(st, i, r, snap, seen, after))
        elif pc == REVERT:
            e = q[0][0]

            def read(st):
                account = st[0][e[0]]
                if e not in account[3]:
                    self.put(st, i, (IDLE, (), (), seen, ()))
                elif self.f["latest_only"] and (account[4] is None or account[4][0] != e[1] or account[2] != e[1] + 1):
                    raise Violation(f"I9 account {e[0]} stands still: decided on top of {e}")
                else:
                    self.put(st, i, (REVERT_CAS, account, q, seen, ()))
            yield self.step(s, False, f"{name} must revert {e}, reads account", read)
        elif pc == REVERT_CAS:
            yield self.step(s, False, f"{name} reverts {q[0][0]}", lambda st: self.revert(st, i, q[0][0], snap, seen))

    def look(self, st, i, r, snap, seen):
        p, tail = r[0], snap[3]
        wanted = self.wanted(r) + (("w:" + r[4],) if r[3] == "V" else ())
        rows = tuple(e for e in st[1] if any(k in wanted for k in e[4]))
        own = tuple(e for e in tail if any(k in wanted for k in e[4])) + tuple(e for e in rows if e[0] == p)
        others = tuple(e for e in rows if e[0] != p)
        e, other_kind = self.answer(r, own)
        if e:
            end = "found" if other_kind or e[3] == r[2] or r[3] == "V" and e[2] != r[1] else "conflict"
            if e in tail:
                q = tuple((x, True) for x in tail if x[1] < e[1] and (p, x[1]) not in seen) + ((e, True),)
            else:
                q = ((e, False),)
            self.put(st, i, (RELAY, (), q, seen, (end,)))
            return
        if others:
            e, other_kind = self.answer(r, others)
            if r[3] == "V" or not e:
                self.complete(st, i, seen, "parked")
            else:
                self.put(st, i, (RELAY, (), ((e, False),), seen, ("found" if other_kind else "conflict",)))
            return
        referred = next((e for e in own if r[3] == "V" and "w:" + r[4] in e[4]), None)
        q = tuple((x, True) for x in tail if (p, x[1]) not in seen) if self.f["relay_below"] else ()
        after = ("cas", referred)
        self.put(st, i, (RELAY if q else CAS, snap, q, seen, after))

    def relay(self, st, i, q, seen, snap, after):
        """Writes the row and publishes, which are two steps in the code. ledger_model.py models what happens between them."""
        (e, insert), rest = q[0], q[1:]
        if insert:
            if not self.f["row_first"]:
                self.append(st, e)
            taken = [x for x in st[1] if x != e and set(x[4]) & set(e[4])]
            if any(x[0] != e[0] for x in taken) and self.f["unique_keys"]:
                self.put(st, i, (REVERT, (), q, seen, after))
                return
            if self.f["unique_keys"] and (taken or any(x[:2] == e[:2] and x != e for x in st[1])):
                raise Violation(f"I3 the ledger diverged at {e}")
            if e not in st[1]:
                if not any(e in a[3] for a in st[0]):
                    raise Violation(f"I9 a row for {e}, which was reverted")
                st[1] = tuple(sorted(st[1] + (e,)))
        self.append(st, e)
        seen = tuple(sorted(set(seen) | {e[:2]}))
        if rest:
            self.put(st, i, (RELAY, snap, rest, seen, after))
        elif after[0] == "cas":
            self.put(st, i, (CAS, snap, (), seen, after))
        elif after[0] == "stop":
            self.put(st, i, (IDLE, (), (), seen, ()))
        else:
            self.complete(st, i, seen, after[0])

    def write(self, st, i, r, snap, seen, after):
        p = r[0]
        if st[0][p][0] != snap[0]:
            self.put(st, i, (IDLE, (), (), seen, ()))
            return
        referred = after[1] if self.f["void_reads_wager"] else None
        delta = r[5] if r[3] == "A" else -(referred[6] if referred else 0)
        ok = snap[1] + delta >= 0
        e = (p, snap[2], r[1], r[2], self.keys(r), ok, delta if ok else 0)
        before = (snap[2], snap[1]) if self.f["keeps_before"] else (snap[2], snap[1] + e[6])
        self.account(st, p, (snap[0] + 1, snap[1] + e[6], snap[2] + 1, st[0][p][3] + (e,), before))
        self.balance(st, p)
        self.put(st, i, (RELAY, (), ((e, True),), seen, ("decided",)))

    def revert(self, st, i, e, read, seen):
        now = st[0][e[0]]
        self.put(st, i, (IDLE, (), (), seen, ()))
        if now[0] != read[0] and self.f["revert_compares"]:
            return
        if e in st[1] or e in st[2]:
            raise Violation(f"I9 {e} was reverted and had been published")
        _, balance = read[4]
        tail = tuple(x for x in now[3] if x[1] != e[1])
        self.account(st, e[0], (now[0] + (1 if self.f["revert_raises"] else 0), balance, e[1], tail, None))
        self.balance(st, e[0])

    # -- what is checked ------------------------------------------------------------------------------------------
    def append(self, st, e):
        if e in st[2]:
            return
        if e not in st[1] and self.f["row_first"]:
            raise Violation(f"I4 {e} published without a row")
        for x in st[2]:
            if x[:2] == e[:2] or set(x[4]) & set(e[4]):
                raise Violation(f"I5 two events under one key or seq: {x} and {e}")
        if any((e[0], n) not in [x[:2] for x in st[2]] for n in range(1, e[1])):
            raise Violation(f"I5 {e} published before a lower seq")
        st[2] = st[2] + (e,)

    def trim(self, st, p, gone):
        for e in gone:
            if e not in st[1] or e not in st[2]:
                raise Violation(f"I4 {e} trimmed before its row or event")
        a = st[0][p]
        self.account(st, p, a[:3] + (tuple(e for e in a[3] if e not in gone),) + a[4:])

    def balance(self, st, p):
        entries = set(st[0][p][3]) | {e for e in st[1] if e[0] == p}
        if st[0][p][1] != 10 + sum(e[6] for e in entries):
            raise Violation(f"I2 account {p} holds {st[0][p][1]}, its entries say {sorted(entries)}")

    def quiescent(self, s):
        return all(d == len(p) for d, p in zip(s[4], self.parts)) and all(w[0] == IDLE for w in s[3]) \
            and all(e in s[2] for a in s[0] for e in a[3])

    def at_rest(self, s):
        st = list(s)
        for p in (0, 1):
            self.balance(st, p)
            if [e[1] for e in s[1] if e[0] == p] != list(range(1, s[0][p][2])):
                raise Violation(f"I3 rows of {p} at rest: {s[1]}")
        if set(s[1]) != set(s[2]):
            raise Violation(f"I6 rows {s[1]}, events {s[2]}")
        answers = dict(s[5])
        for i, part in enumerate(self.parts):
            for n, r in enumerate(part):
                if (i, n) not in answers:
                    raise Violation(f"I6 no answer to {r}")
                mine = [e for e in s[1] if "c:" + r[1] in e[4]]
                if not mine and answers[(i, n)] == "decided":
                    raise Violation(f"I6 {r} was reported as decided")
        for w in {r[4] for part in self.parts for r in part}:
            applied = [e for e in s[1] if "w:" + w in e[4]]
            voids = [e for e in s[1] if "v:" + w in e[4]]
            if len(applied) > 1 or len(voids) > 1 or voids and sum(e[6] for e in applied + voids):
                raise Violation(f"I10 wager {w}: applied {applied}, voided {voids}")

    # -- plumbing -------------------------------------------------------------------------------------------------
    def step(self, s, fault, label, change):
        st = list(s)
        try:
            change(st)
            return fault, label, tuple(st)
        except Violation as v:
            return fault, label, v

    @staticmethod
    def put(st, i, w):
        ws = list(st[3])
        ws[i] = w
        # Drops knowledge about entries that are in no tail, because it makes no difference.
        held = {e[:2] for a in st[0] for e in a[3]}
        st[3] = tuple(x[:3] + (tuple(k for k in x[3] if k in held),) + x[4:] for x in ws)

    @staticmethod
    def account(st, p, a):
        st[0] = (a, st[0][1]) if p == 0 else (st[0][0], a)

    def complete(self, st, i, seen, answer):
        st[5] = tuple(sorted(dict(st[5] + (((i, st[4][i]), answer),)).items()))
        done = list(st[4])
        done[i] += 1
        st[4] = tuple(done)
        self.put(st, i, (IDLE, (), (), seen, ()))


RUNS = {}
for name, inputs, holds, flags in [
        ("shared id", "shared id", True, dict(crashes=1)),
        ("shared id, twice", "shared, twice", True, dict(crashes=1)),
        ("voids", "voids", True, dict(crashes=1)),
        ("voids and a conflict", "voids, conflict", True, dict(crashes=1)),
        # docs/adr/0008, "Left": such a void uses up the wager's void. No money is lost, because the wager stays applied.
        ("left: a void under a wrong name", "wrong name", False, {}),
        ("decides on top", "shared id", False, dict(relay_below=False)),
        ("nothing to put back", "shared id", False, dict(keeps_before=False)),
        ("revert without version", "shared, twice", False, dict(revert_compares=False)),
        # A process that read the account with that decision relays it first and notices. The version is a second safeguard.
        ("not needed: revert raises version", "shared, twice", True, dict(revert_raises=False, crashes=1)),
        ("reverts what is not latest", "shared id", False, dict(relay_below=False, latest_only=False)),
        ("event before row", "shared id", False, dict(row_first=False)),
        ("keys not unique", "shared id", False, dict(unique_keys=False)),
        ("void unseen by its wager", "voids", False, dict(void_is_outcome=False)),
        ("void unaware of its wager", "voids", False, dict(void_reads_wager=False))]:
    kind = "clash" if holds or name.startswith("left") else "mutant/clash"
    RUNS[f"{kind}/{name}"] = ((lambda i=inputs, f=flags: Model(i, **f)), holds)
