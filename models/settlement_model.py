"""Explicit-state model of one payment: its intent, the card provider, and the processes and operators that report how it
ended. ledger_model.py models the account's own protocol. Here a settlement is decided in one step and published in three
(row, end of the intent, event).

Two pools send requests, and each may stall past its lease. Requests arrive late or get no answer. An intermediary may answer
4xx. After some attempts without an outcome a pool parks the payment, and a report by hand revives it. The provider sends its
outcome unasked, too (a webhook). An operator writes reports, and two handlers process reports. Every process may crash between
any two steps.

An outcome, as reported, is "cap" (the money moved) or "dec" (it did not, and will not).
"""
from ledger_model import Violation

IDLE, CHECK, ASK, LOOK_UP, VOID, RECORD, PUBLISH, PARK = range(8)     # a pool: (pc, attempt, round, refused?, outcome)
READ, GATE, DECIDE, CLOSE, ROW, END, PUBLISH_EVENT = range(1, 8)      # a handler: (pc, record)
REQUESTED, REPORTED, CLOSED, SETTLED, PARKED = "requested", "reported", "closed", "settled", "parked"
POOL_IDLE, HANDLER_IDLE = (IDLE, 0, 0, False, None), (IDLE, None)
HOOK_IDLE = (IDLE, None)                                              # the webhook's handler: (RECORD or PUBLISH, outcome)
ATTEMPTS = 3                                                          # larger numbers are not counted, so that states merge

INPUTS = {                                                            # reports that operators write
    "none": (),
    "declined": (("hand1", "dec"),),
    "captured": (("hand1", "cap"),),
    "both": (("hand1", "dec"), ("hand2", "cap")),
    "old": (),                          # a build without the gate decided "dec" and died before it published
}
DEFAULT = dict(crashes=1, stalls=1, lost=2, refusals=1, webhooks=0,
               parks_after=0,           # attempts without an outcome after which a pool parks the payment (0: never)
               gate=True,               # a report is decided only if the recorded outcome agrees, or before any request
               gate_attempts=True,      # "before any request" is checked in the same document and the same step
               close_first=True,        # such a report closes the intent before the decision is written
               end_before_publish=True, # the intent ends before the event is published
               claim_state=True,        # a pool claims only a requested intent
               check_ledger=True,       # a pool reads the ledger before it sends a request
               refusal_first=True,      # a 4xx is final only as the answer to the first request
               refusal_compares=True,   # and only while no other pool has claimed the intent
               missing_is_open=True,    # "not found" leaves the outcome unknown
               void_is_final=True,      # a voided key never captures
               void_reports=True,       # the answer to a void states what happened before it
               outcome_once=True,       # the provider's first outcome is never overwritten
               park_is_open=True,       # a parked payment has no outcome: nothing is given back
               park_compares=True,      # a pool parks only a payment whose outcome is not recorded
               parked_answers=True,     # an answer of the provider counts for a parked payment, too
               parked_asked=True,       # a report by hand is not believed because the payment is parked
               revive_keeps=True,       # a revived payment keeps its number of attempts
               hook_records=True)       # a webhook is recorded in the intent before it is published


class Model:
    def __init__(self, inputs, **flags):
        assert all(name in DEFAULT for name in flags), flags
        self.f = DEFAULT | flags
        self.typed = INPUTS[inputs]
        self.old = inputs == "old"

    @staticmethod
    def key(s):
        pools, handlers = sorted(s[3], key=repr), sorted(s[4], key=repr)
        lease = s[0][3]
        return hash((s[0][:3] + (None if lease is None else s[3][lease],) + s[0][4:], s[1], s[2], tuple(pools), tuple(handlers)) + s[5:])

    def start(self):
        f = self.f
        intent = (REQUESTED, None, 0, None, False)        # state, outcome, attempts, holder of the lease, void wanted
        ledger = ("dec", "tail") if self.old else None
        handlers = ((ROW, ("old", "dec")) if self.old else HANDLER_IDLE, HANDLER_IDLE)
        # 0 intent 1 key at the provider 2 requests in flight 3 pools 4 handlers 5 reports on the topic 6 ledger
        # 7 event published 8 handled reports 9 budgets 10 webhook
        return (intent, None, (), (POOL_IDLE, POOL_IDLE), handlers, (), ledger, False, (),
                (f["crashes"], f["stalls"], f["lost"], f["refusals"], f["webhooks"]), HOOK_IDLE)

    # -- the pool -----------------------------------------------------------------------------------------------------
    def steps(self, s):
        for i in (0, 1):
            yield from self.pool(s, i)
            yield from self.handler(s, i)
        yield from self.webhook(s)
        for request in set(s[2]):
            for outcome in self.outcomes(s, request):
                def arrive(st, request=request, outcome=outcome):
                    flying = list(st[2])
                    flying.remove(request)
                    st[2] = tuple(flying)
                    self.provider(st, request, outcome)
                yield self.step(s, False, f"a late {request} arrives: {outcome}", arrive)
        if s[9][0]:
            for place, idle in ((3, POOL_IDLE), (4, HANDLER_IDLE)):
                for i in (0, 1):
                    if s[place][i] != idle:
                        def crash(st, place=place, i=i, idle=idle):
                            self.spend(st, 0)
                            self.put(st, place, i, idle)
                        yield self.step(s, True, f"{'PH'[place - 3]}{i + 1} crashes", crash)
            if s[10] != HOOK_IDLE:
                def crash_of_hook(st):
                    self.spend(st, 0)
                    st[10] = HOOK_IDLE
                yield self.step(s, True, "W crashes", crash_of_hook)

    def pool(self, s, i):
        f = self.f
        pc, attempt, round_, refused, outcome = s[3][i]
        state, known, attempts, lease, void_wanted = s[0]
        name = f"P{i + 1}"
        if pc == IDLE:
            free = lease is None or lease == i or s[3][lease] == POOL_IDLE
            if state == REQUESTED or not f["claim_state"] and state != REPORTED:
                if free or s[9][1]:
                    def claim(st):
                        if st[7]:
                            raise Violation("S3 a question is begun after the event was published")
                        if not free:
                            self.spend(st, 1)
                        n = min(attempts + 1, ATTEMPTS)
                        st[0] = (state, known, n, i, void_wanted)
                        self.put(st, 3, i, (CHECK, n, 1, void_wanted, None))
                    yield self.step(s, not free, f"{name} claims" + ("" if free else " (the other stalls past its lease)"), claim)
            elif state == REPORTED and ("provider", known) not in s[5]:
                yield self.step(s, False, f"{name} finds a report that was not published",
                                lambda st: self.put(st, 3, i, (PUBLISH, 0, 0, False, known)))
            elif state == REPORTED and f["parks_after"] and ("provider", known) not in s[8]:
                def give_up(st):
                    st[0] = (PARKED,) + st[0][1:]
                yield self.step(s, True, f"{name} parks: the report does not settle it", give_up)
        elif pc == CHECK:
            def check(st):
                if st[6] and st[6][1] != "tail" and f["check_ledger"]:
                    st[0] = (SETTLED,) + st[0][1:]
                    self.put(st, 3, i, POOL_IDLE)
                else:
                    self.put(st, 3, i, (VOID if refused else ASK, attempt, round_, refused, None))
            yield self.step(s, False, f"{name} looks in the ledger", check)
        elif pc == ASK:
            yield from self.request(s, i, "ask", (LOOK_UP, attempt, round_, refused, None))
            if s[9][3]:
                first = attempt == 1 and round_ == 1 or not f["refusal_first"]

                def refuse(st):
                    self.spend(st, 3)
                    self.put(st, 3, i, (RECORD, attempt, 0, True, "dec") if first else (LOOK_UP, attempt, round_, True, None))
                yield self.step(s, True, f"{name} asks, something between answers 4xx", refuse)
        elif pc == LOOK_UP:
            def look(st):
                if st[1] or not f["missing_is_open"]:
                    self.put(st, 3, i, (RECORD, attempt, 0, False, self.outcome(st[1])))
                elif refused:
                    self.put(st, 3, i, (VOID, attempt, round_, refused, None))
                elif round_ == 1:
                    self.put(st, 3, i, (ASK, attempt, 2, False, None))
                else:
                    self.put_back(st, i, attempt)
            yield self.step(s, False, f"{name} looks up: {s[1]}", look)
        elif pc == VOID:
            yield from self.request(s, i, "void", None)
        elif pc == RECORD:
            yield self.step(s, False, f"{name} records {outcome}", lambda st: self.record(st, i, attempt, refused, outcome))
        elif pc == PUBLISH:
            def publish(st):
                st[5] = tuple(sorted(set(st[5]) | {("provider", outcome)}))
                self.put(st, 3, i, POOL_IDLE)
            yield self.step(s, False, f"{name} publishes {outcome}", publish)
        elif pc == PARK:
            yield self.step(s, False, f"{name} parks", lambda st: self.park(st, i))

    def request(self, s, i, request, when_lost):
        attempt = s[3][i][1]
        for outcome in self.outcomes(s, request):
            def answered(st, outcome=outcome):
                answer = self.provider(st, request, outcome)
                self.put(st, 3, i, (RECORD, attempt, 0, False, answer))
            yield self.step(s, False, f"P{i + 1} {request}s: {outcome}", answered)
        if s[9][2]:
            def lost(st):
                self.spend(st, 2)
                st[2] = tuple(sorted(st[2] + (request,)))
                self.put(st, 3, i, when_lost) if when_lost else self.put_back(st, i, attempt)
            yield self.step(s, True, f"P{i + 1} {request}s, no answer in time", lost)

    def outcomes(self, s, request):
        if request == "void":
            return ("void",)
        return ("captured", "declined") if s[1] is None or s[1] == "void" and not self.f["void_is_final"] else (s[1],)

    def provider(self, st, request, outcome):
        had = st[1]
        if had is None or had == "void" and not self.f["void_is_final"] and request == "ask":
            st[1] = outcome
        self.money(st)
        return "dec" if request == "void" and not self.f["void_reports"] else self.outcome(st[1])

    @staticmethod
    def outcome(key):
        return "cap" if key == "captured" else "dec"

    def put_back(self, st, i, attempt):
        """Postpones the payment, or parks it in a further step after too many attempts."""
        if self.f["parks_after"] and attempt >= self.f["parks_after"]:
            self.put(st, 3, i, (PARK, attempt, 0, False, None))
            return
        state, known, attempts, lease, void_wanted = st[0]
        st[0] = (state, known, attempts, None if lease == i else lease, void_wanted)
        self.put(st, 3, i, POOL_IDLE)

    def park(self, st, i):
        state, known, attempts, lease, void_wanted = st[0]
        self.put(st, 3, i, POOL_IDLE)
        if not self.f["park_is_open"] and known is None and state == REQUESTED:
            st[0] = (REPORTED, "dec", attempts, lease, void_wanted)
        elif state == REQUESTED or state == REPORTED and not self.f["park_compares"]:
            st[0] = (PARKED, known, attempts, lease, void_wanted)

    def record(self, st, i, attempt, refusal, outcome):
        state, known, attempts, lease, void_wanted = st[0]
        if refusal and self.f["refusal_compares"] and attempts != attempt:
            self.put(st, 3, i, POOL_IDLE)
        elif known is None and not self.is_open(state):
            self.put(st, 3, i, POOL_IDLE)
        elif known is None or not self.f["outcome_once"] and state != SETTLED:
            if refusal and not self.f["refusal_first"]:
                pass                                       # mutation: any 4xx is taken as the provider's outcome
            st[0] = (REPORTED, outcome, attempts, lease, void_wanted)
            self.put(st, 3, i, (PUBLISH, 0, 0, False, outcome))
        else:
            if known != outcome and not self.old:
                raise Violation(f"S5 the provider reports {outcome}, {known} is recorded")
            self.put(st, 3, i, (PUBLISH, 0, 0, False, known) if state == REPORTED else POOL_IDLE)

    def is_open(self, state):
        """Returns whether an answer is recorded in an intent without an outcome."""
        if state == PARKED and not self.f["parked_answers"]:
            raise Violation("S6 the provider's answer to a parked payment is dropped")
        return state in (REQUESTED, PARKED)

    # -- the webhook --------------------------------------------------------------------------------------------------
    def webhook(self, s):
        pc, outcome = s[10]
        state, known, attempts, lease, void_wanted = s[0]
        if pc == IDLE:
            if s[1] and s[9][4]:
                def send(st):
                    self.spend(st, 4)
                    st[10] = (RECORD if self.f["hook_records"] else PUBLISH, self.outcome(st[1]))
                yield self.step(s, True, f"the provider sends a webhook: {s[1]}", send)
        elif pc == RECORD:
            def record(st):
                if known is None and self.is_open(state):
                    st[0] = (REPORTED, outcome, attempts, lease, void_wanted)
                elif known is not None and known != outcome:
                    raise Violation(f"S5 the webhook says {outcome}, {known} is recorded")
                st[10] = (PUBLISH, outcome) if known is not None and state != SETTLED or st[0] != s[0] else HOOK_IDLE
            yield self.step(s, False, f"W records {outcome}", record)
        elif pc == PUBLISH:
            def publish(st):
                st[5] = tuple(sorted(set(st[5]) | {("provider", outcome)}))
                st[10] = HOOK_IDLE
            yield self.step(s, False, f"W publishes {outcome}", publish)

    # -- the handler --------------------------------------------------------------------------------------------------
    def handler(self, s, i):
        f = self.f
        pc, record = s[4][i]
        name = f"H{i + 1}"

        def to(pc, record):
            return lambda st: self.put(st, 4, i, (pc, record))
        if pc == IDLE:
            for r in s[5] + self.typed:
                if r not in s[8] and all(h[1] != r for h in s[4]):
                    yield self.step(s, False, f"{name} takes {r}", to(READ, r))
            if self.old and not s[7] and all(h[0] == IDLE for h in s[4]):
                yield self.step(s, False, f"{name} relays what was left", to(ROW, ("old", s[6][0])))
        elif pc == READ:
            def read(st):
                if not st[6]:
                    self.put(st, 4, i, (GATE if f["gate"] else DECIDE, record))
                elif st[6][0] != record[1] and record[0] == "provider" and not self.old:
                    raise Violation(f"S5 the provider says {record[1]}, the ledger {st[6][0]}")
                else:
                    self.put(st, 4, i, (ROW, record))
            yield self.step(s, False, f"{name} reads the ledger", read)
        elif pc == GATE:
            yield self.step(s, False, f"{name} asks the intent", lambda st: self.gate(st, i, record))
        elif pc == DECIDE:
            def decide(st):
                if st[6] is None:
                    st[6] = (record[1], "tail")
                    self.money(st)
                    self.put(st, 4, i, (CLOSE if not f["close_first"] else ROW, record))
                else:
                    self.put(st, 4, i, (READ, record))
            yield self.step(s, False, f"{name} decides {record}", decide)
        elif pc == CLOSE:
            def close(st):
                if st[0][0] == REQUESTED:
                    st[0] = (CLOSED, record[1]) + st[0][2:]
                self.put(st, 4, i, (ROW, record))
            yield self.step(s, False, f"{name} closes the intent", close)
        elif pc == ROW:
            def row(st):
                st[6] = (st[6][0], "row")
                self.put(st, 4, i, (END if f["end_before_publish"] else PUBLISH_EVENT, record))
            yield self.step(s, False, f"{name} writes the row", row)
        elif pc == END:
            def end(st):
                st[0] = (SETTLED,) + st[0][1:]
                self.put(st, 4, i, (PUBLISH_EVENT, record)) if f["end_before_publish"] else self.finish(st, i, record)
            yield self.step(s, False, f"{name} ends the intent", end)
        elif pc == PUBLISH_EVENT:
            def publish_event(st):
                st[7] = True
                self.finish(st, i, record) if f["end_before_publish"] else self.put(st, 4, i, (END, record))
            yield self.step(s, False, f"{name} publishes the event", publish_event)

    def gate(self, st, i, record):
        state, known, attempts, lease, void_wanted = st[0]
        outcome = record[1]
        if known == outcome:
            self.put(st, 4, i, (DECIDE, record))
        elif known is None and (state == REQUESTED and (attempts == 0 or not self.f["gate_attempts"])
                                or state == PARKED and not self.f["parked_asked"]):
            if self.f["close_first"]:
                st[0] = (CLOSED, outcome, attempts, lease, void_wanted)
            self.put(st, 4, i, (DECIDE, record))
        else:                                              # refused. A report of "dec" also has the key voided
            void_wanted = void_wanted or known is None and outcome == "dec"
            if state == PARKED and known is None:          # and a parked payment is revived
                state, lease, attempts = REQUESTED, None, attempts if self.f["revive_keeps"] else 0
            st[0] = (state, known, attempts, lease, void_wanted)
            self.finish(st, i, record)

    def finish(self, st, i, record):
        st[8] = tuple(sorted(set(st[8]) | {record}))
        self.put(st, 4, i, HANDLER_IDLE)

    # -- what is checked ----------------------------------------------------------------------------------------------
    def money(self, st):
        if self.old or not st[6]:
            return
        outcome = st[6][0]
        if outcome == "dec" and st[1] == "captured":
            raise Violation("S1 the ledger says declined, the provider moved the money")
        if outcome == "cap" and st[1] in ("declined", "void"):
            raise Violation("S2 the ledger says captured, the provider did not move the money")
        if outcome == "cap" and st[1] == "captured" and st[0][0] == CLOSED:
            raise Violation("S1 captured by hand, and by the provider as well")

    def quiescent(self, s):
        return all(p == POOL_IDLE for p in s[3]) and all(h == HANDLER_IDLE for h in s[4]) and not s[2] \
            and s[10] == HOOK_IDLE and all(r in s[8] for r in self.typed + s[5]) \
            and s[0][0] in (SETTLED, CLOSED, PARKED) and not (self.old and not s[7])

    def at_rest(self, s):
        if s[0][0] == PARKED:
            if s[0][1] is not None:
                raise Violation(f"S6 parked at rest, but the outcome is recorded: {s[0][1]}")
            return                                         # an operator knows of it
        if not s[6] or not s[7]:
            raise Violation(f"S4 at rest: ledger {s[6]}, published {s[7]}")

    # -- plumbing -----------------------------------------------------------------------------------------------------
    def step(self, s, fault, label, change):
        st = list(s)
        try:
            change(st)
            return fault, label, tuple(st)
        except Violation as v:
            return fault, label, v

    @staticmethod
    def put(st, place, i, w):
        st[place] = (w, st[place][1]) if i == 0 else (st[place][0], w)

    @staticmethod
    def spend(st, which):
        b = list(st[9])
        b[which] -= 1
        st[9] = tuple(b)


RUNS = {}
PARKS = dict(parks_after=1, webhooks=1)                               # the smallest number of attempts that parks
for name, inputs, holds, flags in [
        ("provider alone", "none", True, dict(crashes=2, stalls=2)),
        ("declined by hand", "declined", True, {}),
        ("captured by hand", "captured", True, {}),
        ("two operators", "both", True, dict(lost=1)),
        ("decided by an older build", "old", True, {}),
        ("webhook", "none", True, dict(webhooks=2)),
        ("webhook and a report by hand", "declined", True, dict(webhooks=1, lost=1)),
        ("parked", "none", True, PARKS),
        ("revived by hand", "both", True, dict(PARKS, stalls=0, refusals=0)),
        ("settled by hand at any time", "declined", False, dict(gate=False)),
        ("captured by hand at any time", "captured", False, dict(gate=False)),
        ("gate ignores attempts", "declined", False, dict(gate_attempts=False)),
        ("closed after the decision", "declined", False, dict(close_first=False)),
        ("event before the intent ends", "old", False, dict(end_before_publish=False, check_ledger=False)),
        ("claim ignores the state", "declined", False, dict(claim_state=False, check_ledger=False)),
        ("any 4xx is final", "none", False, dict(refusal_first=False, refusal_compares=False)),
        ("4xx of a stalled pool", "none", False, dict(refusal_compares=False)),
        ("not found taken for no", "none", False, dict(missing_is_open=False)),
        ("voided key captures", "declined", False, dict(void_is_final=False)),
        ("void hides a capture", "declined", False, dict(void_reports=False)),
        ("a later answer overwrites", "none", False, dict(outcome_once=False, missing_is_open=False)),
        ("giving up means declined", "none", False, dict(PARKS, park_is_open=False)),
        ("parks what is reported", "none", False, dict(PARKS, park_compares=False)),
        ("answer to a parked payment dropped", "none", False, dict(PARKS, parked_answers=False)),
        ("parked payment settled by hand", "declined", False, dict(PARKS, parked_asked=False)),
        ("reviving forgets the attempts", "both", False, dict(PARKS, revive_keeps=False)),
        ("webhook is not recorded", "none", False, dict(webhooks=1, hook_records=False))]:
    kind = "settlement" if holds else "mutant/settlement"
    RUNS[f"{kind}/{name}"] = ((lambda i=inputs, f=flags: Model(i, **f)), holds)
