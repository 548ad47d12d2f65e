#!/usr/bin/env python3
"""Explicit-state model of the money protocol: one account, its ledger rows, its events (docs/adr/0001).

The model has one account document, one ledger, one event topic, a command topic with partitions, two workers (the old
and the new owner) and a sweeper. Each of these three processes trims lazily. Every call to the database or the broker is
one atomic step. Between any two steps a process may crash and lose its memory. The search is breadth-first, so the first
trace to a violation is a shortest one.

clash_model.py models reverted decisions and voids (docs/adr/0008). settlement_model.py models intents, the provider and
settlements by hand. This file runs all three.

    python3 ledger_model.py             quick runs (minutes). Exits with 1 when an answer differs from the expected one
    python3 ledger_model.py --all       every run (up to 4.6 million states each)
    python3 ledger_model.py NAME ...    only these runs, with traces
    python3 ledger_model.py --list      names of all runs

An entry is (seq, command, hash, accepted, delta). The event topic holds only the FIRST occurrence of each event, in
order. A repeated event changes nothing that is checked here, and so the state space stays finite.
"""
import random
import sys
import time

IDLE, LEDGER, CAS, INSERT, PUBLISH, CONFLICT, ACCOUNT, REJECT, REWRITE = range(9)
DOWN = (IDLE, 0, (), (), 0, (), ())          # a worker: (pc, partition, snapshot, queue, seen, positions, aux)
STALE = (-9, 0, 0, ())                       # a snapshot with an outdated version
SWEEPER = (IDLE, (), 0)                      # (pc, queue, seen)

# (command, request hash, delta). B is rejected at balance 0 and would be accepted after D.
B, D, A = ("B", 1, -5), ("D", 1, 10), ("A", 1, -5)
B_HASH2 = ("B", 2, -7)
INPUTS = {
    "keyed":    (0, ((B, D, B, B_HASH2),)),          # one partition: rejection, deposit, duplicate, another hash
    "two":      (0, ((B, D), (B,))),                 # the duplicate is in another partition (console, retry)
    "conflict": (0, ((B, D), (B_HASH2,))),           # the other hash is in another partition. Either may win, once
    "cross":    (0, ((B, B), (D,))),                 # two commands that never shared a partition, one of them twice
    "mixed":    (5, ((A, B), (D,))),                 # three commands, two partitions (players.events, retry, no key)
}
DEFAULT = dict(crashes=2, redeliveries=2, unknown=1, rollbacks=1, cap=128,
               lower_first=True,      # before its own entry a process relays every lower seq that it read in the tail
               batch_ledger=False,    # all ledger rows of the queue are written first, then all events are published
               trim_bumps=False,      # a trim raises the version
               replace_tail=False,    # the compare-and-set writes the tail that it read plus one, and does not push
               ledger_first=False, no_rejections=False, trim_at="ack", tail_only=False, positional=False,
               no_version=False, trim_if_ledgered=False, trim_upto=False, rmw_trim=False,
               early_offset=False, ledger_means_done=False, skip_unknown=False, sweep_any=False,
               stale_ledger=False,
               kept=False,            # a worker may take the account that it wrote last, and reads only the ledger (docs/adr/0018)
               conflict_first=False,  # a conflict is published before the decision that it conflicts with
               check_order=True)


class Violation(Exception):
    pass


def bit(seq):
    return 1 << seq


class Model:
    def __init__(self, inputs, **flags):
        self.f = dict(DEFAULT)
        for k in flags:
            assert k in DEFAULT, k
        self.f.update(flags)
        self.initial, self.parts = INPUTS[inputs]
        self.lens = tuple(len(p) for p in self.parts)
        self.commands = sorted({r[0] for p in self.parts for r in p})

    @staticmethod
    def key(s):
        """Returns the same hash for two states that differ only in the order of the workers."""
        a, b = s[10]
        return hash(s if a <= b else s[:10] + ((b, a),) + s[11:])

    def start(self):
        zero = (0,) * len(self.parts)
        first = DOWN[:5] + (zero,) + DOWN[6:]
        f = self.f
        # 0 version 1 balance 2 next_seq 3 tail 4 ledger 5 topic 6 acked 7 decided (ghost) 8 unsynced trims
        # 9 in flight 10 workers 11 sweeper 12 done offsets 13 conflict events 14 budgets
        return (0, self.initial, 1, (), (), (), 0, (), (), (), (first, DOWN), SWEEPER, zero, (),
                (f["crashes"], f["redeliveries"], f["unknown"], f["rollbacks"]))

    # -- pieces -----------------------------------------------------------------------------------------------
    def queue(self, entry, tail, seen):
        """Returns the entries to relay for one entry: lower ones in the tail that this process has not seen acked, and itself."""
        if not self.f["lower_first"]:
            return (entry,)
        return tuple(e for e in sorted(tail) if e[0] < entry[0] and not seen & bit(e[0])) + (entry,)

    def decide(self, record, balance, seq):
        command, h, delta = record
        ok = 1 if balance + delta >= 0 else 0
        return (seq, command, h, ok, delta if ok else 0)

    def insert(self, st, entries):
        led = st[4]
        for e in entries:
            for row in led:
                if row[0] == e[0] and row != e:
                    raise Violation(f"I3 ledger: _id {e[0]} exists with other bytes")
                if row[1] == e[1] and row[0] != e[0]:
                    raise Violation(f"I3 ledger: command {e[1]} exists under _id {row[0]}, inserted again as {e[0]}")
            if e not in led:
                led = tuple(sorted(led + (e,)))
                st[8] = ()                       # a synced write also makes earlier unsynced writes durable
        st[4] = led

    def append(self, st, e):
        topic = st[5]
        if e in topic:
            return
        if e[0]:
            for t in topic:
                if t[0] == e[0]:
                    raise Violation(f"I5 events: two different events with seq {e[0]}")
            missing = [x for x in range(1, e[0]) if all(t[0] != x for t in topic)]
            if missing and self.f["check_order"]:
                raise Violation(f"I5 events: seq {e[0]} appears before seq {missing[0]}")
        st[5] = topic + (e,)
        st[9] = tuple(x for x in st[9] if x != e)

    def trim(self, st, gone):
        for e in gone:
            if e not in st[4]:
                raise Violation(f"I4 trim: seq {e[0]} trimmed without a ledger row")
            if not st[6] & bit(e[0]):
                raise Violation(f"I4 trim: seq {e[0]} trimmed before its event was acknowledged")
        st[3] = tuple(e for e in st[3] if e not in gone)
        st[8] = tuple(sorted(set(st[8]) | set(gone)))
        if self.f["trim_bumps"]:
            st[0] += 1

    def forget(self, st):
        """Drops what can no longer make a difference, so that such states merge. These are an unsynced trim that no fault
        can undo, a snapshot with an outdated version, and knowledge about entries that have left the tail. A
        compare-and-set with an outdated snapshot can only fail, and a crash before or after that leaves the same state."""
        f = self.f
        if not st[14][3]:
            st[8] = ()
        if not (f["no_version"] or f["trim_bumps"]):
            for i in (0, 1):
                w = st[10][i]
                if w[2] and w[2][0] != st[0]:
                    if w[0] == CAS:
                        self.put(st, i, (IDLE, 0, (), (), w[4], w[5], ()))
                    elif w[0] == LEDGER:
                        self.put(st, i, w[:2] + (STALE,) + w[3:])
        if f["positional"]:
            return
        mask = 0
        for e in st[3]:
            mask |= bit(e[0])
        st[10] = tuple(w[:4] + (w[4] & mask,) + w[5:] for w in st[10])
        s = st[11]
        st[11] = s[:2] + (s[2] & mask,)

    def check_balance(self, st):
        want = self.initial + sum(e[4] for e in st[7] if e[3])
        if st[1] != want:
            raise Violation(f"I2 balance {st[1]}, postings say {want}")

    # -- steps ------------------------------------------------------------------------------------------------
    def steps(self, s):
        """Yields (is_fault, label, next state or Violation) for every possible step."""
        for i in (0, 1):
            yield from self.worker(s, i)
        yield from self.sweeper(s)
        for who in (0, 1, 2):
            yield from self.trims(s, who)
        for e in s[9]:
            yield self.step(s, True, f"late publish of seq {e[0]} ({e[1]}) lands", lambda st, e=e: self.append(st, e))
        yield from self.faults(s)

    def step(self, s, fault, label, change):
        st = list(s)
        try:
            change(st)
            self.forget(st)
            return fault, label, tuple(st)
        except Violation as v:
            return fault, label, v

    @staticmethod
    def put(st, i, w):
        ws = st[10]
        st[10] = (w, ws[1]) if i == 0 else (ws[0], w)

    def worker(self, s, i):
        f = self.f
        w = s[10][i]
        pc, p, snap, q, seen, pos, aux = w
        name = f"W{i + 1}"
        if not pos:                                            # down: starts again from a committed offset
            spots = [()]
            for d in s[12]:
                spots = [x + (k,) for x in spots for k in range(d + 1)]
            for at in spots:
                again = at != s[12]
                if again and s[14][1] == 0:
                    continue

                def go(st, at=at, again=again):
                    self.put(st, i, DOWN[:5] + (at,) + DOWN[6:])
                    if again:
                        b = st[14]
                        st[14] = (b[0], b[1] - 1, b[2], b[3])
                yield self.step(s, again, f"{name} takes over from offsets {at}", go)
            return
        if pc == IDLE:
            for part, at in enumerate(pos):
                if at < self.lens[part]:
                    record = self.parts[part][at]
                    what = f"{record[0]}/h{record[1]}"
                    if f["ledger_first"]:
                        def go(st, part=part, record=record):
                            found = tuple(r for r in st[4] if r[1] == record[0])
                            self.put(st, i, (ACCOUNT, part, (), (), seen, pos, found))
                        yield self.step(s, False, f"{name} takes {what}, reads ledger", go)
                    else:
                        yield self.step(s, False, f"{name} takes {what}, reads account",
                                        lambda st, part=part: self.read_account(st, i, part, w))
                        if snap:
                            yield self.step(s, False, f"{name} takes {what}, and the account that it wrote as version {snap[0]}",
                                            lambda st, part=part: self.known_account(st, i, part, w, snap))
            return
        record = self.parts[p][pos[p]]
        if pc == ACCOUNT:                                      # mutation: the ledger was read first
            yield self.step(s, False, f"{name} reads account", lambda st: self.read_account(st, i, p, w, aux))
        elif pc == LEDGER:
            def go(st):
                found = tuple(r for r in st[4] if r[1] == record[0])
                self.look(st, i, p, w, snap, found)
            yield self.step(s, False, f"{name} reads ledger", go)
            if f["stale_ledger"]:
                yield self.step(s, False, f"{name} reads ledger (stale: nothing)",
                                lambda st: self.look(st, i, p, w, snap, ()))
        elif pc == CAS:
            yield from self.compare_and_set(s, i, w, record)
        elif pc == REJECT:                                     # mutation: a rejection is only published
            def go(st):
                e = self.decide(record, snap[1], 0)
                for d in st[7]:
                    if d[1] == e[1] and d[3] != e[3]:
                        raise Violation(f"I1 {e[1]}: decided {d[3]}, now {e[3]}")
                if all(d[1] != e[1] for d in st[7]):
                    st[7] = tuple(sorted(st[7] + (e,)))
                self.append(st, e)
                self.complete(st, i, p, w, seen)
            yield self.step(s, False, f"{name} publishes unrecorded rejection of {record[0]}", go)
        elif pc == CONFLICT:
            def go(st):
                if any(d[1] == record[0] and d not in st[5] for d in st[7]):
                    raise Violation(f"I5 events: conflict of {record[0]} published before its decision")
                st[13] = tuple(sorted(set(st[13]) | {record}))
                self.complete(st, i, p, w, seen)
            yield self.step(s, False, f"{name} publishes conflict for {record[0]}/h{record[1]}, completes", go)
        elif pc == INSERT:
            rows = q if f["batch_ledger"] else q[:1]

            def go(st):
                self.insert(st, rows)
                sn = seen | bit(q[0][0]) if f["trim_at"] == "ledger" else seen
                self.put(st, i, (PUBLISH, p, snap, q, sn, pos, aux))
            yield self.step(s, False, f"{name} inserts ledger {[e[0] for e in rows]}", go)
        elif pc == PUBLISH:
            e = q[0]

            def go(st):
                self.append(st, e)
                st[6] |= bit(e[0])
                sn = seen | bit(e[0])
                if q[1:]:
                    self.put(st, i, (PUBLISH if f["batch_ledger"] else INSERT, p, snap, q[1:], sn, pos, aux))
                elif aux:
                    self.put(st, i, (CONFLICT, p, (), (), sn, pos, ()))
                else:
                    self.complete(st, i, p, w, sn, snap)
            last = "" if q[1:] else ", completes offset"
            yield self.step(s, False, f"{name} publishes seq {e[0]} ({e[1]}), acked{last}", go)
            if s[14][2]:
                def lost(st):
                    b = st[14]
                    st[14] = (b[0], b[1], b[2] - 1, b[3])
                    if e not in st[5]:
                        st[9] = tuple(sorted(set(st[9]) | {e}))
                    if f["skip_unknown"]:
                        if q[1:]:
                            self.put(st, i, (INSERT, p, (), q[1:], seen, pos, aux))
                        else:
                            self.complete(st, i, p, w, seen)
                yield self.step(s, True, f"{name} publish of seq {e[0]} times out, outcome unknown", lost)

    def read_account(self, st, i, p, w, found=None):
        self.known_account(st, i, p, w, (st[0], st[1], st[2], st[3]), found)

    def known_account(self, st, i, p, w, snap, found=None):
        record = self.parts[p][w[5][p]]
        if found is not None:
            self.look(st, i, p, w, snap, found)
        elif self.f["tail_only"] or any(e[1] == record[0] for e in snap[3]):
            self.look(st, i, p, w, snap, ())                   # it is in the tail, so reading the ledger cannot change the answer
        else:
            self.put(st, i, (LEDGER, p, snap, (), w[4], w[5], ()))

    def look(self, st, i, p, w, snap, in_ledger):
        f = self.f
        seen, pos = w[4], w[5]
        record = self.parts[p][pos[p]]
        in_tail = tuple(e for e in snap[3] if e[1] == record[0])
        if f["trim_if_ledgered"]:                              # mutation: takes a ledger row as proof of its event
            for e in snap[3]:
                if e in st[4]:
                    seen |= bit(e[0])
        if in_tail or in_ledger:
            e = (in_tail or in_ledger)[0]
            other = ("conflict",) if e[2] != record[1] else ()     # published after the decision itself
            if other and f["conflict_first"]:
                self.put(st, i, (CONFLICT, p, (), (), seen, pos, ()))
            elif in_tail:
                self.put(st, i, (INSERT, p, (), self.queue(e, snap[3], seen), seen, pos, other))
            elif f["ledger_means_done"]:
                self.complete(st, i, p, w, seen)
            else:
                self.put(st, i, (PUBLISH, p, (), (e,), seen, pos, other))
        elif f["no_rejections"] and not self.decide(record, snap[1], 0)[3]:
            self.put(st, i, (REJECT, p, snap, (), seen, pos, ()))
        elif len(snap[3]) >= f["cap"]:                         # the tail is full, so the lane waits and reads again later
            self.put(st, i, (IDLE, 0, (), (), seen, pos, ()))
        else:
            self.put(st, i, (CAS, p, snap, (), seen, pos, ()))

    def compare_and_set(self, s, i, w, record):
        f = self.f
        pc, p, snap, q, seen, pos, aux = w
        name = f"W{i + 1}"
        if s[0] != snap[0] and not f["no_version"]:
            yield self.step(s, False, f"{name} compare-and-set fails on version",
                            lambda st: self.put(st, i, (IDLE, 0, (), (), seen, pos, ())))
            return
        e = self.decide(record, snap[1], snap[2])

        def write(st):
            for d in st[7]:
                if d[1] == e[1]:
                    raise Violation(f"I1 {e[1]} decided again: was {'accepted' if d[3] else 'rejected'} as seq {d[0]},"
                                    f" now {'accepted' if e[3] else 'rejected'} as seq {e[0]}")
            st[0] = snap[0] + 1
            st[1] = snap[1] + e[4]
            st[2] = snap[2] + 1
            st[3] = (snap[3] if f["replace_tail"] or f["no_version"] else st[3]) + (e,)
            st[7] = tuple(sorted(st[7] + (e,)))
            st[8] = ()
            self.check_balance(st)

        def go(st):
            write(st)
            sn = seen | bit(e[0]) if f["trim_at"] == "append" else seen
            left = tuple(x for x in snap[3] if not seen & bit(x[0]))
            kept = (st[0], st[1], st[2], left + (e,)) if f["kept"] else ()
            self.put(st, i, (INSERT, p, kept, self.queue(e, snap[3], seen), sn, pos, ()))
            if f["early_offset"]:
                d = list(st[12])
                d[p] = max(d[p], pos[p] + 1)
                st[12] = tuple(d)
        verb = "accepts" if e[3] else "rejects"
        yield self.step(s, False, f"{name} compare-and-set {verb} {e[1]} as seq {e[0]}", go)
        if s[14][2]:
            def lost(st):
                write(st)
                b = st[14]
                st[14] = (b[0], b[1], b[2] - 1, b[3])
                self.put(st, i, (IDLE, 0, (), (), seen, pos, ()))
            yield self.step(s, True, f"{name} compare-and-set {verb} {e[1]} as seq {e[0]}, reply lost", lost)

    def complete(self, st, i, p, w, seen, kept=()):
        pos = list(w[5])
        pos[p] += 1
        done = list(st[12])
        done[p] = max(done[p], pos[p])
        st[12] = tuple(done)
        self.put(st, i, (IDLE, 0, kept, (), seen, tuple(pos), ()))

    def sweeper(self, s):
        f = self.f
        pc, q, seen = s[11]
        if pc == IDLE:
            todo = tuple(e for e in sorted(s[3]) if not seen & bit(e[0]))
            if not todo:
                return
            for pick in ([(e,) for e in todo] if f["sweep_any"] else [todo]):
                def go(st, pick=pick):
                    sn = seen
                    if f["trim_if_ledgered"]:
                        for e in st[3]:
                            if e in st[4]:
                                sn |= bit(e[0])
                    st[11] = (INSERT, pick, sn)
                yield self.step(s, False, f"S reads tail {[e[0] for e in s[3]]}", go)
        elif pc == INSERT:
            rows = q if f["batch_ledger"] else q[:1]

            def go(st):
                self.insert(st, rows)
                st[11] = (PUBLISH, q, seen | bit(q[0][0]) if f["trim_at"] == "ledger" else seen)
            yield self.step(s, False, f"S inserts ledger {[e[0] for e in rows]}", go)
        elif pc == PUBLISH:
            def go(st):
                self.append(st, q[0])
                st[6] |= bit(q[0][0])
                rest = q[1:]
                if rest:
                    st[11] = (PUBLISH if f["batch_ledger"] else INSERT, rest, seen | bit(q[0][0]))
                elif f["rmw_trim"]:
                    st[11] = (REWRITE, (), seen | bit(q[0][0]))
                else:
                    st[11] = (IDLE, (), seen | bit(q[0][0]))
            yield self.step(s, False, f"S publishes seq {q[0][0]} ({q[0][1]}), acked", go)
        elif pc == REWRITE:                                    # mutation: overwrites the tail with an empty one
            def go(st):
                self.trim(st, st[3])
                st[11] = SWEEPER
            yield self.step(s, False, "S writes the tail it read, less what it relayed", go)

    def trims(self, s, who):
        f = self.f
        seen = s[11][2] if who == 2 else s[10][who][4]
        if not seen or not s[3] or (f["rmw_trim"] and who == 2):
            return
        if f["positional"]:
            gone = s[3][:bin(seen).count("1")]
        elif f["trim_upto"]:
            gone = tuple(e for e in s[3] if bit(e[0]) <= seen)
        else:
            gone = tuple(e for e in s[3] if seen & bit(e[0]))
        if not gone:
            return

        def go(st):
            self.trim(st, gone)
            if who == 2:
                st[11] = st[11][:2] + (0,)
            else:
                w = st[10][who]
                self.put(st, who, w[:4] + (0,) + w[5:])
        yield self.step(s, False, f"{('W1', 'W2', 'S')[who]} trims {[e[0] for e in gone]}", go)

    def faults(self, s):
        b = s[14]
        if b[0]:
            for who in (0, 1, 2):
                if who < 2:
                    w = s[10][who]
                    if not w[5]:
                        continue
                    e = w[3][0] if w[0] == PUBLISH else None
                else:
                    if s[11] == SWEEPER:
                        continue
                    e = s[11][1][0] if s[11][0] == PUBLISH else None
                for flying in ((False, True) if e and e not in s[5] and e not in s[9] else (False,)):
                    def go(st, who=who, e=e, flying=flying):
                        st[14] = (b[0] - 1, b[1], b[2], b[3])
                        if who == 2:
                            st[11] = SWEEPER
                        else:
                            self.put(st, who, DOWN)
                        if flying:
                            st[9] = tuple(sorted(st[9] + (e,)))
                    yield self.step(s, True, f"{('W1', 'W2', 'S')[who]} crashes"
                                    + (" with its publish under way" if flying else ""), go)
        if b[3] and s[8]:
            def go(st):
                st[14] = (b[0], b[1], b[2], b[3] - 1)
                st[3] = tuple(sorted(set(st[3]) | set(st[8])))
                st[8] = ()
                if self.f["trim_bumps"]:
                    st[0] -= 1
            yield self.step(s, True, f"database loses unsynced trim of {[e[0] for e in s[8]]}", go)

    # -- quiescence -------------------------------------------------------------------------------------------
    def quiescent(self, s):
        return s[12] == self.lens and all(w[0] == IDLE for w in s[10]) and s[11][0] == IDLE

    def at_rest(self, s):
        decided = s[7]
        for c in self.commands:
            mine = [d for d in decided if d[1] == c]
            if len(mine) != 1:
                raise Violation(f"I6 {c}: {len(mine)} decisions")
            if mine[0] not in s[5]:
                raise Violation(f"I6 {c}: completed, but its event is not in the topic")
            if mine[0] not in s[4]:
                raise Violation(f"I6 {c}: completed, but not in the ledger")
        if s[4] != decided or [e[0] for e in s[4]] != list(range(1, len(s[4]) + 1)):
            raise Violation(f"I3 ledger at rest {s[4]}, decided {decided}")
        for p in self.parts:
            for r in p:                                        # replay: every record is found and gets the same answer
                e = [x for x in s[3] + s[4] if x[1] == r[0]]
                if not e:
                    raise Violation(f"I6 a replay of {r[0]} would decide it again")
                if e[0][2] != r[1] and r not in s[13]:
                    raise Violation(f"I6 no conflict event for {r[0]}/h{r[1]}")
        self.check_balance(list(s))


def check(model, limit=1_800.0, sample=997):
    """Searches breadth-first. Returns (states, states at rest, violation or None, trace, complete?, completions tried)."""
    t0 = time.time()
    key = model.key
    first = model.start()
    parent = {key(first): None}
    level, depth, tried, count, rests = [first], 0, 0, 0, 0
    rng = random.Random(7)

    def trace(k, last):
        ks = []
        while k is not None:
            ks.append(k)
            k = parent[k]
        ks.reverse()
        s, out = first, []
        for want in ks[1:]:
            for _, label, n in model.steps(s):
                if not isinstance(n, Violation) and key(n) == want:
                    out.append(label)
                    s = n
                    break
        return out + ([last] if last else [])

    while level:
        nxt = []
        for s in level:
            k = key(s)
            moved = False
            try:
                if model.quiescent(s):
                    rests += 1
                    model.at_rest(s)
            except Violation as v:
                return len(parent), rests, str(v), trace(k, None), True, tried
            for fault, label, n in model.steps(s):
                moved = moved or not fault
                if isinstance(n, Violation):
                    return len(parent), rests, str(n), trace(k, label), True, tried
                kn = key(n)
                if kn not in parent:
                    parent[kn] = k
                    nxt.append(n)
            if not moved and not model.quiescent(s):
                return len(parent), rests, "I7 deadlock", trace(k, None), True, tried
            count += 1
            if count % sample == 0:                            # samples liveness: without faults the model must come to rest
                tried += 1
                x = s
                for _ in range(3000):
                    if isinstance(x, Violation) or model.quiescent(x):
                        break                                  # the search itself reaches this violation later
                    x = rng.choice([n for fault, _, n in model.steps(x) if not fault])
                else:
                    return len(parent), rests, "I7 does not come to rest", trace(k, None), True, tried
        level = nxt
        depth += 1
        if time.time() - t0 > limit:
            return len(parent), rests, None, [f"(stopped at depth {depth})"], False, tried
    return len(parent), rests, None, [], True, tried


# name: (inputs, flags, must hold?)
RUNS = {}


def run(name, inputs, holds, **flags):
    RUNS[name] = (inputs, flags, holds)


QUIET = dict(rollbacks=0)
SMALL = dict(crashes=1, redeliveries=1, rollbacks=0)
# the protocol, in which a process relays every lower seq first
run("strict/keyed", "keyed", True)
run("strict/two", "two", True)
run("strict/conflict", "conflict", True, **QUIET)
run("strict/cross", "cross", True, **QUIET)
run("strict/mixed", "mixed", True, **SMALL)
run("strict/keyed, small", "keyed", True, **SMALL)
run("strict/conflict, small", "conflict", True, **SMALL)
# a worker takes the account that it wrote last, however long ago that was
run("kept/keyed, small", "keyed", True, kept=True, **SMALL)
run("kept/two, small", "two", True, kept=True, **SMALL)
run("kept/mixed", "mixed", True, kept=True, unknown=0, **SMALL)
# the protocol as the text of 2026-11-21 states it literally: a handler relays only its own entry
run("literal/keyed", "keyed", True, lower_first=False)
run("literal/two", "two", True, lower_first=False, **QUIET)
run("literal/cross", "cross", False, lower_first=False)
run("literal/mixed", "mixed", False, lower_first=False, unknown=0)
run("literal/cross, order aside", "cross", True, lower_first=False, check_order=False, **QUIET)
# variants that the text leaves open
run("open/trim raises version", "two", True, trim_bumps=True, **SMALL)
run("open/same, and reads see unsynced", "two", False, trim_bumps=True)
run("open/cas writes whole tail", "two", True, replace_tail=True, crashes=1, redeliveries=1)
run("open/ledger rows in a batch", "mixed", False, batch_ledger=True)
run("open/sweeper any order", "mixed", False, sweep_any=True)
run("open/tail of one", "two", True, cap=1, **QUIET)
run("open/trim up to highest, strict", "cross", True, trim_upto=True, **QUIET)
# mutations that must be caught
for name, (inputs, flags) in {
        "ledger before account": ("two", dict(ledger_first=True)),
        "stale ledger read": ("two", dict(stale_ledger=True)),
        "rejections not recorded": ("two", dict(no_rejections=True)),
        "trim before ledger": ("two", dict(trim_at="append")),
        "trim before ack": ("two", dict(trim_at="ledger")),
        "dedupe by tail only": ("two", dict(tail_only=True)),
        "positional trim": ("mixed", dict(positional=True)),
        "cas without version": ("two", dict(no_version=True)),
        "trim if in ledger": ("two", dict(trim_if_ledgered=True)),
        "trim up to highest, literal": ("mixed", dict(trim_upto=True, lower_first=False, check_order=False)),
        "trim by rewriting tail": ("two", dict(rmw_trim=True)),
        "offset before ack": ("two", dict(early_offset=True)),
        "ledgered means done": ("two", dict(ledger_means_done=True)),
        "time-out taken for ack": ("two", dict(skip_unknown=True)),
        "conflict published first": ("conflict", dict(conflict_first=True)),
        "kept, dedupe by tail only": ("two", dict(kept=True, tail_only=True)),
        "kept, stale ledger read": ("two", dict(kept=True, stale_ledger=True)),
        "kept, cas without version": ("two", dict(kept=True, no_version=True))}.items():
    run(f"mutant/{name}", inputs, False, **flags)


# Slow runs, which only `--all` includes.
LARGE = {name for name in RUNS if name.split("/")[0] in ("strict", "kept", "literal", "open") and RUNS[name][2]
         and not name.endswith(", small")}
LARGE |= {"clash/shared id"}


def runs():
    """Returns name -> (constructor of a model, must hold?) for all three files."""
    import clash_model
    import settlement_model
    all_runs = {name: ((lambda i=inputs, f=flags: Model(i, **f)), holds) for name, (inputs, flags, holds) in RUNS.items()}
    return all_runs | clash_model.RUNS | settlement_model.RUNS


def main(argv):
    all_runs = runs()
    if argv[:1] == ["--list"]:
        print("\n".join(all_runs))
        return 0
    quick = [name for name in all_runs if name not in LARGE]
    names = list(all_runs) if argv == ["--all"] else argv or quick
    argv = [] if argv == ["--all"] else argv
    bad = 0
    for name in names:
        make, holds = all_runs[name]
        t = time.time()
        n, rests, result, trace, complete, tried = check(make())
        answer = result or ("holds" if complete else "no violation, NOT complete")
        ok = holds is None or (holds == (result is None and complete))
        bad += not ok
        print(f"{'ok ' if ok else 'BAD'} {name:34} {n:>8} states {rests:>7} at rest {tried:>5} run to rest "
              f"{time.time() - t:6.1f} s | {answer}", flush=True)
        if result and (argv or not ok):
            for k, step in enumerate(trace, 1):
                print(f"      {k:>2} {step}")
    return 1 if bad else 0


if __name__ == "__main__":
    import ledger_model                          # the module itself, so that all three files share one Violation class
    sys.exit(ledger_model.main(sys.argv[1:]))
