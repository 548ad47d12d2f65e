//! Parts of a running Pitboss: their names, ports and Sentry projects.

use std::fmt;
use std::str::FromStr;

/// The default base of all ports.
pub const BASE_PORT_DEFAULT: u16 = 8100;

/// The highest base that leaves room for every port.
pub const BASE_PORT_MAX: u16 = u16::MAX - 99;

/// The largest number of instances of a service beside its first one.
pub const FURTHER_INSTANCES_MAX: u16 = 3;

/// A program that runs as a separate process: a Pitboss service, or a server that the services need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// The HTTP edge.
    Gateway,
    /// Independent record of everything that is sent to Sentry.
    Recorder,
    /// Players, sessions, history.
    User,
    /// Bets.
    Game,
    /// The ledger.
    Payment,
    /// Rollups of figures.
    Analytics,
    /// Messages to players.
    Notification,
    /// Consumer lag, measured from outside the services.
    Lagwatch,
    /// Simulation of the outside systems.
    Partners,
    /// Proxy between `user` and the broker.
    Wire,
    /// The broker.
    Kafka,
    /// The document store.
    Mongo,
    /// The cache.
    Redis,
}

impl Part {
    /// All parts.
    pub const ALL: &'static [Self] = &[
        Self::Gateway,
        Self::Recorder,
        Self::User,
        Self::Game,
        Self::Payment,
        Self::Analytics,
        Self::Notification,
        Self::Lagwatch,
        Self::Partners,
        Self::Wire,
        Self::Kafka,
        Self::Mongo,
        Self::Redis,
    ];

    /// The Pitboss services, in the order of their ops ports.
    pub const SERVICES: &'static [Self] = &[
        Self::Gateway,
        Self::Recorder,
        Self::User,
        Self::Game,
        Self::Payment,
        Self::Analytics,
        Self::Notification,
        Self::Lagwatch,
        Self::Partners,
        Self::Wire,
    ];

    /// The name of the program, in logs, in `status` and as the service in telemetry.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Recorder => "recorder",
            Self::User => "user",
            Self::Game => "game",
            Self::Payment => "payment",
            Self::Analytics => "analytics",
            Self::Notification => "notification",
            Self::Lagwatch => "lagwatch",
            Self::Partners => "partners",
            Self::Wire => "wire",
            Self::Kafka => "kafka",
            Self::Mongo => "mongo",
            Self::Redis => "redis",
        }
    }

    /// Returns true for a Pitboss service, false for the broker and the stores.
    pub const fn is_service(self) -> bool {
        !matches!(self, Self::Kafka | Self::Mongo | Self::Redis)
    }

    /// The offset of the main port from the base.
    const fn port_offset(self) -> u16 {
        match self {
            Self::Gateway => 0,
            Self::Recorder => 1,
            Self::User => 2,
            Self::Game => 3,
            Self::Payment => 4,
            Self::Analytics => 5,
            Self::Notification => 6,
            Self::Lagwatch => 7,
            Self::Partners => 8,
            Self::Wire => 11,
            Self::Kafka => 20,
            Self::Mongo => 22,
            Self::Redis => 23,
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The text is not the name of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown part: expected one of gateway, recorder, user, game, payment, analytics, notification, lagwatch, partners, wire, kafka, mongo, redis"
)]
pub struct UnknownPart;

impl FromStr for Part {
    type Err = UnknownPart;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|part| part.as_str() == text).ok_or(UnknownPart)
    }
}

/// Every port of one checkout, counted from one base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// The port that all others are counted from.
    base: u16,
}

/// The base leaves no room for all ports, or is privileged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the port base must be between 1024 and {BASE_PORT_MAX}")]
pub struct PortBaseError;

impl Default for Ports {
    fn default() -> Self {
        Self { base: BASE_PORT_DEFAULT }
    }
}

impl Ports {
    /// Ports counted from `base`.
    pub const fn new(base: u16) -> Result<Self, PortBaseError> {
        if base < 1024 || base > BASE_PORT_MAX {
            return Err(PortBaseError);
        }
        Ok(Self { base })
    }

    /// The base itself.
    pub const fn base(self) -> u16 {
        self.base
    }

    /// The main port of a part: HTTP of a service (ingest of the recorder), or the native port of another server.
    pub const fn http(self, part: Part) -> u16 {
        self.base + part.port_offset()
    }

    /// The ops port (`/livez /readyz /metrics /version`) of a service. Other servers have none.
    pub const fn ops(self, part: Part) -> Option<u16> {
        if part.is_service() { Some(self.base + 30 + part.port_offset()) } else { None }
    }

    /// The HTTP port and the ops port of a further instance of a service, which runs beside the first one while a release is tried
    /// out.
    ///
    /// `None` for a service that does not run more than once here, and from [`FURTHER_INSTANCES_MAX`] on.
    pub const fn further(self, part: Part, slot: u16) -> Option<(u16, u16)> {
        let place = match part {
            Part::User => 0,
            Part::Game => 1,
            Part::Payment => 2,
            Part::Analytics => 3,
            Part::Notification => 4,
            _ => return None,
        };
        if slot >= FURTHER_INSTANCES_MAX {
            return None;
        }
        let http = self.base + 60 + slot * 5 + place;
        Some((http, http + 20))
    }

    /// The port of the recorder's queries and pages. Ingest has another port, so that each can be unavailable alone.
    pub const fn recorder_query(self) -> u16 {
        self.base + 10
    }

    /// The e-mail server that `partners` simulates.
    pub const fn smtp(self) -> u16 {
        self.base + 9
    }

    /// The listener for merchants of the card provider that `partners` simulates. It can be closed alone.
    pub const fn card(self) -> u16 {
        self.base + 16
    }

    /// The broker's listener for clients.
    pub const fn kafka(self) -> u16 {
        self.http(Part::Kafka)
    }

    /// The proxy's port, at which `user` reaches the broker.
    pub const fn wire(self) -> u16 {
        self.base + 12
    }

    /// The broker's listener for the proxy. It advertises the proxy's port.
    pub const fn kafka_wire(self) -> u16 {
        self.base + 24
    }

    /// The broker's controller listener.
    pub const fn kafka_controller(self) -> u16 {
        self.base + 21
    }

    /// Sentry's Spotlight, the second witness, which only `up --spotlight` starts.
    pub const fn spotlight(self) -> u16 {
        self.base + 25
    }

    /// The document store.
    pub const fn mongo(self) -> u16 {
        self.http(Part::Mongo)
    }

    /// The cache.
    pub const fn redis(self) -> u16 {
        self.http(Part::Redis)
    }
}

/// Sentry projects of the browser applications, which are not parts.
pub const WEB_PROJECTS: [(&str, u32); 2] = [("player-web", 10), ("admin-web", 11)];

/// Sentry project of the command line, which is not a part.
pub const CLI_PROJECT: (&str, u32) = ("cli", 13);

/// The project number in the DSN of a service, which SDKs require. Other servers have none.
pub const fn sentry_project_id(part: Part) -> Option<u32> {
    match part {
        Part::Gateway => Some(1),
        Part::User => Some(2),
        Part::Game => Some(3),
        Part::Payment => Some(4),
        Part::Analytics => Some(5),
        Part::Notification => Some(6),
        Part::Recorder => Some(7),
        Part::Lagwatch => Some(8),
        Part::Partners => Some(9),
        Part::Wire => Some(12),
        Part::Kafka | Part::Mongo | Part::Redis => None,
    }
}

/// Every Sentry project by number and name.
pub fn sentry_projects() -> Vec<(u32, &'static str)> {
    let services = Part::SERVICES.iter().filter_map(|part| Some((sentry_project_id(*part)?, part.as_str())));
    let mut projects: Vec<(u32, &'static str)> =
        services.chain(WEB_PROJECTS.iter().chain([&CLI_PROJECT]).map(|(name, id)| (*id, *name))).collect();
    projects.sort_unstable();
    projects
}
