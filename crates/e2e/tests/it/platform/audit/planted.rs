//! Errors planted in the test's own databases, with its own provider's statement and pay table.

mod records;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pitboss::audit::{CheckId, Databases, Mark, Options, Report, Sources, run_from, run_with};
use serde_json::{Value, json};
use store::bson::{DateTime, Document, doc};
use store::mongo::{Config, Mongo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Age of all records, so that nothing is in flight and every bucket of analytics is complete.
const AGE_MS: i64 = 3 * 3_600_000;

/// Lines that partners shows: the statement of the card provider, or the e-mails that arrived.
type Lines = Arc<Mutex<Vec<Value>>>;

struct World {
    at_ms: i64,
    databases: Databases,
    statement: Lines,
    mails: Lines,
    sources: Sources,
    /// Ends the server with the test.
    _server: JoinSet<()>,
}

fn pay_table() -> Value {
    let pays = [json!({ "line": ["cherry", "cherry", "other"], "multiplier": 5 })];
    json!({ "game": "slots", "version": "slots-1", "pays": pays })
}

/// Answers one request of the audit, as the gateway or as partners.
async fn answer(mut stream: TcpStream, statement: &Lines, mails: &Lines) -> std::io::Result<()> {
    let (mut head, mut chunk) = (Vec::new(), [0_u8; 1_024]);
    while !head.ends_with(b"\r\n\r\n") {
        let read = stream.read(&mut chunk).await?;
        if read == 0 {
            return Ok(());
        }
        head.extend_from_slice(&chunk[..read]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split(' ').nth(1).unwrap_or_default();
    let lists = [
        ("/card/v1/statement?since=", statement, "entries"),
        ("/mail/v1/messages?since=", mails, "messages"),
    ];
    let page = lists.into_iter().find_map(|(prefix, lines, name)| {
        let since: u64 = path.strip_prefix(prefix)?.split('&').next()?.parse().ok()?;
        let lines = lines.lock().expect("no panic").clone();
        let later = lines.into_iter().filter(|line| line["sequence"].as_u64() > Some(since));
        Some(json!({ (name): later.collect::<Vec<_>>() }))
    });
    // The provider's first answer to the key of a payment.
    let payment = path.strip_prefix("/card/v1/charges?idempotency_key=");
    let payment = payment.and_then(|key| key.split("%3A").next());
    let first = payment.and_then(|id| {
        let lines = statement.lock().expect("no panic");
        lines.iter().find(|line| line["payment_id"] == id).cloned()
    });
    let (status, body) = if path.ends_with("/pay-table") {
        ("200 OK", pay_table())
    } else if let Some(page) = page {
        ("200 OK", page)
    } else if let Some(first) = first {
        ("200 OK", first)
    } else {
        ("404 Not Found", json!({}))
    };
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).await
}

impl World {
    async fn new() -> Self {
        // Another test of this process may have installed it already.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (statement, mails) = (Lines::default(), Lines::default());
        let mut server = JoinSet::new();
        let served = (Arc::clone(&statement), Arc::clone(&mails));
        server.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A client that hangs up is no failure of the test.
                drop(answer(stream, &served.0, &served.1).await);
            }
        });
        let database = |service: &str| testkit::unique(&format!("audit-{service}"));
        let databases = Databases {
            payment: database("payment"),
            game: database("game"),
            user: database("user"),
            analytics: database("analytics"),
            notification: database("notification"),
        };
        let sources = Sources {
            mongo_uri: testkit::mongo(),
            databases: databases.clone(),
            gateway_url: url.clone(),
            partners_url: url,
            internal_token: "token".to_owned(),
            bootstrap_servers: testkit::kafka(),
            kafka_namespace: testkit::unique("audit"),
            records_read: Arc::default(),
            http: reqwest::Client::builder().no_proxy().build().expect("a client"),
        };
        let at_ms = DateTime::now().timestamp_millis() - AGE_MS;
        Self { at_ms, databases, statement, mails, sources, _server: server }
    }

    async fn mongo(database: &str) -> Mongo {
        Mongo::connect(&Config::new(testkit::mongo(), database)).await.expect("a document store")
    }

    async fn insert(&self, database: &str, collection: &'static str, document: Document) {
        let documents = Self::mongo(database).await.collection::<Document>(collection);
        documents.insert_one(&document).await.expect("inserted");
    }

    fn at(&self) -> DateTime {
        DateTime::from_millis(self.at_ms)
    }

    /// Inserts later documents with the time of now.
    fn later(&mut self) {
        self.at_ms = DateTime::now().timestamp_millis();
    }

    /// The fact of an event.
    async fn fact(&self, event_id: &str, kind: &str, game: &str, (in_minor, out_minor): (i64, i64)) {
        let fact = doc! {
            "_id": event_id, "kind": kind, "slot_s": self.start_s(10), "game": game, "currency": "EUR",
            "in_minor": in_minor, "out_minor": out_minor,
        };
        self.insert(&self.databases.analytics, "facts", fact).await;
    }

    async fn update(&self, database: &str, collection: &'static str, id: &str, set: Document) {
        let documents = Self::mongo(database).await.collection::<Document>(collection);
        let matched = documents.update_one(doc! { "_id": id }, doc! { "$set": set }).await.expect("updated");
        assert_eq!(matched, 1, "{collection} {id}");
    }

    async fn account(&self, player_id: &str, next_seq: i64, balance_minor: i64) {
        let account = doc! {
            "_id": player_id, "version": 1_i64, "next_seq": next_seq, "balances": { "EUR": balance_minor }, "tail": [],
        };
        self.insert(&self.databases.payment, "accounts", account).await;
    }

    async fn row(&self, player_id: &str, seq: i64, changes: Document) {
        let mut row = doc! {
            "_id": format!("{player_id}/{seq}"), "player_id": player_id, "seq": seq,
            "command_id": format!("{player_id}-{seq}"), "outcome": "applied", "at": self.at(),
        };
        row.extend(changes);
        self.insert(&self.databases.payment, "ledger", row).await;
    }

    /// A deposit as payment and the card provider record it.
    async fn deposit(&self, player_id: &str, seq: i64, payment_id: &str, amount_minor: i64) {
        let legs = [leg("provider:card", -amount_minor), leg(&format!("player:{player_id}"), amount_minor)];
        let changes = doc! {
            "type": "casino.payments.v1.ProviderReported",
            "keys": [format!("c:{player_id}-{seq}"), format!("r:{payment_id}")],
            "postings": legs.to_vec(), "balance_after_minor": amount_minor,
            "event": { "id": format!("event-{payment_id}"), "type": "casino.payments.v1.DepositCompleted" },
        };
        self.row(player_id, seq, changes).await;
        self.captured(payment_id, amount_minor);
        self.intent(payment_id, "settled", amount_minor).await;
        let entry = doc! {
            "_id": payment_id, "player_id": player_id, "kind": "deposit", "outcome": "completed",
            "amount_minor": amount_minor, "currency": "EUR", "at": self.at(),
        };
        self.insert(&self.databases.user, "bet_history", entry).await;
        self.fact(&format!("event-{payment_id}"), "deposit_completed", "-", (amount_minor, 0)).await;
    }

    /// A void of a bet of 100, as payment, game and user record it.
    async fn void(&self, player_id: &str, seq: i64, bet_id: &str, payout_minor: i64, balance_minor: i64) {
        let own = format!("player:{player_id}");
        let legs = [
            leg(&own, 100),
            leg("house:slots", -100),
            leg("house:slots", payout_minor),
            leg(&own, -payout_minor),
        ];
        let changes = doc! {
            "type": "casino.payments.v1.VoidWager", "voids": bet_id,
            "keys": [format!("c:{player_id}-{seq}"), format!("v:{bet_id}")],
            "postings": legs.to_vec(), "balance_after_minor": balance_minor,
            "event": { "id": format!("void-{bet_id}"), "type": "casino.payments.v1.WagerVoided" },
        };
        self.row(player_id, seq, changes).await;
        let voided = doc! { "state": "voided", "voided_at": self.at() };
        self.update(&self.databases.game, "bets", bet_id, voided).await;
        self.update(&self.databases.user, "bet_history", bet_id, doc! { "outcome": "voided" }).await;
    }

    async fn intent(&self, payment_id: &str, state: &str, amount_minor: i64) {
        let intent = doc! {
            "_id": payment_id, "kind": "deposit", "state": state, "amount_minor": amount_minor, "currency": "EUR",
            "created_at": self.at(),
        };
        self.insert(&self.databases.payment, "intents", intent).await;
    }

    /// A notification about an event, whose first attempt had an unknown outcome.
    async fn notified(&self, event_id: &str) {
        let sent = doc! {
            "_id": format!("{event_id}/email"), "state": "sent", "attempts": 2, "unknown": 1, "put_off": 0,
            "ended_at": self.at(),
        };
        self.insert(&self.databases.notification, "sent", sent).await;
    }

    /// An e-mail about an event, as partners received it.
    fn mailed(&self, event_id: &str) {
        let mut mails = self.mails.lock().expect("no panic");
        let mail = json!({
            "sequence": mails.len() + 1, "message_id": format!("{event_id}.email@pitboss.invalid"),
            "received_at_epoch_ms": self.at_ms,
        });
        mails.push(mail);
    }

    fn captured(&self, payment_id: &str, amount_minor: i64) {
        let mut statement = self.statement.lock().expect("no panic");
        let line = json!({
            "sequence": statement.len() + 1, "kind": "charge", "payment_id": payment_id, "status": "captured",
            "amount_minor": amount_minor, "currency": "EUR", "at_epoch_ms": self.at_ms,
        });
        statement.push(line);
    }

    /// A bet of 100 as payment, game, user and analytics record it.
    async fn bet(&self, player_id: &str, seq: i64, bet_id: &str, payout_minor: i64, balance_minor: i64) {
        let own = format!("player:{player_id}");
        let legs = [
            leg(&own, -100),
            leg("house:slots", 100),
            leg("house:slots", -payout_minor),
            leg(&own, payout_minor),
        ];
        let changes = doc! {
            "type": "casino.payments.v1.ApplyWager", "postings": legs.to_vec(),
            "keys": [format!("c:{player_id}-{seq}"), format!("w:{bet_id}")],
            "balance_after_minor": balance_minor,
            "event": { "id": format!("event-{bet_id}"), "type": "casino.payments.v1.WagerApplied" },
        };
        self.row(player_id, seq, changes).await;
        let bet = doc! {
            "_id": bet_id, "player_id": player_id, "game": "slots", "state": "settled", "stake_minor": 100_i64,
            "payout_minor": payout_minor, "currency": "EUR", "reels": ["cherry", "cherry", "lemon"],
            "pay_table_version": "slots-1", "decided_at": self.at(), "ended_at": self.at(),
            "balance_minor": balance_minor,
        };
        self.insert(&self.databases.game, "bets", bet).await;
        let entry = doc! {
            "_id": bet_id, "player_id": player_id, "kind": "bet", "outcome": "settled", "amount_minor": 100_i64,
            "payout_minor": payout_minor, "currency": "EUR", "at": self.at(),
        };
        self.insert(&self.databases.user, "bet_history", entry).await;
        let cause = bet_id.parse().expect("an id");
        let event_id = contracts::ids::follower_id(&cause, contracts::EventType::BetSettled);
        self.fact(event_id.as_str(), "bet_settled", "slots", (100, payout_minor)).await;
    }

    fn start_s(&self, length_s: i64) -> i64 {
        let at_s = self.at_ms.div_euclid(1_000);
        at_s - at_s.rem_euclid(length_s)
    }

    /// Rollups at all levels: number of facts, stakes and payouts of bets, and number and sum of deposits.
    async fn rollups(&self, (bets, stake_minor, payout_minor): (i64, i64, i64), deposits: (i64, i64)) {
        for (level, length_s) in [("slot", 10), ("minute", 60), ("hour", 3_600)] {
            let of = |game: &str, facts: i64| {
                doc! {
                    "_id": format!("{level}/{game}"), "level": level, "start_s": self.start_s(length_s), "game": game,
                    "currency": "EUR", "facts": facts, "stake_minor": 0_i64, "payout_minor": 0_i64,
                    "deposited_minor": 0_i64, "withdrawn_minor": 0_i64,
                }
            };
            let mut slots = of("slots", bets);
            slots.extend(doc! { "stake_minor": stake_minor, "payout_minor": payout_minor });
            let mut none = of("-", deposits.0);
            none.insert("deposited_minor", deposits.1);
            self.insert(&self.databases.analytics, "rollups", slots).await;
            self.insert(&self.databases.analytics, "rollups", none).await;
        }
    }

    async fn audit(&self) -> Report {
        run_with(&self.sources, &Options::default()).await.expect("an audit")
    }

    /// Audits from a mark on, with nothing in flight.
    async fn audit_from(&self, mark: &Mark) -> (Report, Mark) {
        run_from(&self.sources, mark, Duration::ZERO).await.expect("an audit")
    }

    async fn drop_databases(&self) {
        let Databases { payment, game, user, analytics, notification } = &self.databases;
        for database in [payment, game, user, analytics, notification] {
            Self::mongo(database).await.drop_database().await.expect("dropped");
        }
    }
}

fn leg(account: &str, amount_minor: i64) -> Document {
    doc! { "account": account, "currency": "EUR", "amount_minor": amount_minor }
}

fn violated(report: &Report) -> BTreeSet<&str> {
    report.checks.iter().filter(|check| check.violations() > 0).map(|check| check.name).collect()
}

fn pointers(report: &Report) -> BTreeSet<&str> {
    report.findings().flat_map(|finding| &finding.pointers).map(String::as_str).collect()
}

#[tokio::test]
async fn planted_errors_are_found() {
    let world = World::new().await;
    let missing = run_with(&world.sources, &Options::default()).await.expect_err("no topics");
    assert!(missing.to_string().contains("there is no topic casino."), "{missing:#}");
    records::Topics::new(&world).await;
    world.account("ada", 5, 1_400).await;
    world.deposit("ada", 1, "pay-1", 1_000).await;
    world.bet("ada", 2, "bet-1", 500, 1_400).await;
    world.bet("ada", 3, "bet-void", 500, 1_800).await;
    world.void("ada", 4, "bet-void", 500, 1_400).await;
    // The fact of the void.
    world.fact("event-void", "bet_reversed", "slots", (-100, -500)).await;
    world.rollups((3, 100, 500), (1, 1_000)).await;
    // An e-mail that was repeated because the outcome of the first attempt was unknown.
    world.notified("win-1").await;
    world.mailed("win-1");
    world.mailed("win-1");
    let report = world.audit().await;
    assert!(report.is_clean(), "{report:#?}");
    // The topics are empty here, so the events of the documents count as deleted.
    let mut of_documents = report.checks.iter().zip(CheckId::ALL).filter(|(_, id)| !id.reads_topics());
    assert!(of_documents.all(|(check, _)| check.checked > 0 && !check.empty), "{report:#?}");
    assert_eq!(report.checks.iter().map(|check| check.deleted).sum::<u64>(), 2 + 4, "{report:#?}");

    // A row that its account has not decided, and whose postings are not balanced.
    let legs = [leg("player:ada", -100), leg("house:slots", 99)];
    let changes = doc! { "type": "casino.payments.v1.Deposit", "keys": ["c:x"], "postings": legs.to_vec() };
    world.row("ada", 5, changes).await;
    // A payout a hundred times too high, on which all services agree, and which no rollup has.
    world.account("bob", 2, 49_900).await;
    world.bet("bob", 1, "bet-2", 50_000, 49_900).await;
    // An order that the ledger does not know.
    world.captured("pay-2", 700);
    // A bet that game gave up, while no record that it waits for is a dead letter.
    world.bet("ada", 90, "bet-lost", 0, 1_400).await;
    let ledger = World::mongo(&world.databases.payment).await.collection::<Document>("ledger");
    ledger.delete_one(doc! { "_id": "ada/90" }).await.expect("deleted");
    let lost = doc! { "state": "decided", "unanswered_at": world.at() };
    world.update(&world.databases.game, "bets", "bet-lost", lost).await;
    // A deposit that never ends, and an e-mail that arrived more often than it was attempted.
    world.intent("pay-lost", "reported", 300).await;
    world.mailed("win-1");
    let report = world.audit().await;
    let expected = [
        "bets-ended",
        "ledger-rows",
        "mails",
        "payments-ended",
        "payouts",
        "postings",
        "provider-orders",
        "rollups",
    ];
    assert_eq!(violated(&report), BTreeSet::from(expected), "{report:#?}");
    let pointers = pointers(&report);
    for pointer in [
        "payment.ledger _id=ada/5",
        "game.bets _id=bet-2",
        "game.bets _id=bet-lost",
        "partners: /card/v1/statement sequence=2",
        "payment.intents _id=pay-lost",
        "partners: /mail/v1/messages sequence=3",
    ] {
        assert!(pointers.contains(pointer), "{pointer}: {report:#?}");
    }
    let slot_s = world.start_s(10);
    assert!(
        pointers.contains(format!("analytics.rollups level=slot start_s={slot_s}").as_str()),
        "{report:#?}"
    );
    world.drop_databases().await;
}

fn findings(report: &Report, check: CheckId) -> usize {
    let found = report.checks.iter().find(|result| result.name == check.name());
    found.expect("the check").findings.len()
}

#[tokio::test]
async fn resumed_audit_reads_new_and_open_records() {
    let mut world = World::new().await;
    records::Topics::new(&world).await;
    world.account("ada", 3, 1_400).await;
    world.deposit("ada", 1, "pay-1", 1_000).await;
    world.bet("ada", 2, "bet-1", 500, 1_400).await;
    world.rollups((1, 100, 500), (1, 1_000)).await;
    // An order that the ledger does not know yet, and a decision whose row is not written yet.
    world.captured("pay-2", 700);
    world.account("bob", 1, 0).await;
    let legs = vec![leg("provider:card", -700), leg("player:bob", 700)];
    let decision = doc! {
        "seq": 1_i64, "command_id": "bob-1", "keys": ["r:pay-2"], "outcome": "applied", "at": world.at(),
        "type": "casino.payments.v1.ProviderReported", "postings": legs, "balance_after_minor": 700_i64,
        "event": { "id": "event-pay-2", "type": "casino.payments.v1.DepositCompleted" },
    };
    let in_tail = doc! { "next_seq": 2_i64, "balances": { "EUR": 700_i64 }, "tail": [decision.clone()] };
    world.update(&world.databases.payment, "accounts", "bob", in_tail).await;
    // A payment that is parked, and an e-mail without a notification.
    world.intent("pay-3", "parked", 300).await;
    world.mailed("nobody");
    let (report, mark) = world.audit_from(&Mark::at(None)).await;
    assert_eq!(violated(&report), BTreeSet::from(["mails", "provider-orders"]), "{report:#?}");
    // The order, the row, the event of the decision, the payment and the e-mail.
    assert_eq!((report.carried, report.open, mark.open()), (0, Some(5), 5));

    // Nothing changed: the findings stay, the row is still missing, and nothing else is read.
    let (report, mark) = world.audit_from(&mark).await;
    assert_eq!(findings(&report, CheckId::Orders), 1, "{report:#?}");
    assert_eq!(findings(&report, CheckId::Mails), 1, "{report:#?}");
    let checked = |check: CheckId| {
        let found = report.checks.iter().find(|result| result.name == check.name());
        found.expect("the check").checked
    };
    assert_eq!((checked(CheckId::Postings), checked(CheckId::Payouts), checked(CheckId::Orders)), (0, 0, 1));
    assert_eq!(checked(CheckId::Balances), 2, "the balances are compared with the newest decisions");
    assert_eq!((report.carried, mark.open()), (5, 5));

    // The row is written late, with a time before the mark. It is checked: its history and its fact are missing. The parked payment is
    // resumed and does not end.
    let mut row = doc! { "_id": "bob/1", "player_id": "bob" };
    row.extend(decision);
    world.insert(&world.databases.payment, "ledger", row).await;
    world.update(&world.databases.payment, "intents", "pay-3", doc! { "state": "requested" }).await;
    let (report, mark) = world.audit_from(&mark).await;
    let expected = ["history-payments", "mails", "payment-facts", "payments-ended"];
    assert_eq!(violated(&report), BTreeSet::from(expected), "{report:#?}");

    // New records: an order that was captured a second time, and a bet of which no other service knows.
    world.later();
    world.captured("pay-1", 1_000);
    let bet = doc! {
        "_id": "bet-new", "player_id": "ada", "game": "slots", "state": "settled", "stake_minor": 100_i64,
        "payout_minor": 500_i64, "currency": "EUR", "reels": ["cherry", "cherry", "lemon"],
        "pay_table_version": "slots-1", "decided_at": world.at(), "ended_at": world.at(), "balance_minor": 0_i64,
    };
    world.insert(&world.databases.game, "bets", bet).await;
    let (report, mark) = world.audit_from(&mark).await;
    let expected = [
        "facts",
        "history",
        "history-payments",
        "mails",
        "payment-facts",
        "payments-ended",
        "provider-orders",
        "settled-bets",
    ];
    assert_eq!(violated(&report), BTreeSet::from(expected), "{report:#?}");

    // A changed balance is found although its account has no new decision.
    let changed = doc! { "balances": { "EUR": 1_500_i64 } };
    world.update(&world.databases.payment, "accounts", "ada", changed).await;
    let (report, _) = world.audit_from(&mark).await;
    assert_eq!(findings(&report, CheckId::Balances), 1, "{report:#?}");

    // The mark of another platform is refused.
    world.statement.lock().expect("no panic").clear();
    let refused = run_from(&world.sources, &mark, Duration::ZERO).await;
    assert!(refused.expect_err("refused").to_string().contains("does not fit this platform"));
    world.drop_databases().await;
}
