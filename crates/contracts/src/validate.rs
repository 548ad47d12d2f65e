//! Validation rules for each well-formed message, as the comments in `proto/` define them.

use crate::EventType;
use crate::field::{
    FieldError, Sign, amount, currency_code, email, event_id, game, known_enum, optional_amount, player_id,
    positive, same_currency, text, transfer,
};
use crate::message::Validate;
use crate::proto::common::v1::{Money, RejectReason};
use crate::proto::payments::v1::ProviderOutcome;
use crate::proto::players::v1::KycStatus;
use crate::proto::{analytics, bets, payments, players};

/// Longest reason that an operator enters.
const REASON_BYTES_MAX: usize = 200;
/// Largest number of symbols on a pay line. The next constant is the longest symbol.
const REELS_MAX: usize = 16;
const SYMBOL_BYTES_MAX: usize = 32;
/// Longest reference that a provider gives a payment.
const REFERENCE_BYTES_MAX: usize = 128;
/// Longest display name of a player.
const DISPLAY_NAME_BYTES_MAX: usize = 64;

type Checked = Result<(), FieldError>;

/// The amounts that a void reversed: both or neither, in one currency.
fn reversed(stake: Option<&Money>, payout: Option<&Money>) -> Checked {
    if stake.is_some() != payout.is_some() {
        return Err(FieldError::new("reversedPayout", "must be present exactly when `reversedStake` is"));
    }
    if stake.is_some() {
        transfer("reversedStake", stake, Sign::NotNegative)?;
        transfer("reversedPayout", payout, Sign::NotNegative)?;
    }
    same_currency("reversedPayout", stake, payout)
}

/// Implements [`Validate`] for a message from its rules and its enum field.
macro_rules! rules {
    ($area:ident $name:ident, |$message:ident| $rules:expr $(, enum $field:ident: $kind:ty)?) => {
        impl Validate for $area::v1::$name {
            fn validate(&self) -> Checked {
                player_id(&self.player_id)?;
                let $message = self;
                $rules
            }

            $(
                fn drop_unknown_enums(&mut self) {
                    if <$kind>::try_from(self.$field).is_err() {
                        self.$field = 0;
                    }
                }
            )?
        }
    };
}

rules!(analytics FactItem, |m| {
    event_id("factId", &m.fact_id)?;
    positive("number", i64::from(m.number))?;
    positive("count", i64::from(m.count))
});

rules!(bets PlaceBet, |m| {
    game(&m.game)?;
    amount("stake", m.stake.as_ref(), Sign::Positive)
});

rules!(bets BetSettled, |m| {
    event_id("betId", &m.bet_id)?;
    game(&m.game)?;
    transfer("stake", m.stake.as_ref(), Sign::Positive)?;
    transfer("payout", m.payout.as_ref(), Sign::NotNegative)?;
    amount("balanceAfter", m.balance_after.as_ref(), Sign::Any)?;
    same_currency("payout", m.stake.as_ref(), m.payout.as_ref())?;
    same_currency("balanceAfter", m.stake.as_ref(), m.balance_after.as_ref())?;
    if m.reels.len() > REELS_MAX {
        return Err(FieldError::new("reels", "has too many symbols"));
    }
    m.reels.iter().try_for_each(|symbol| text("reels", symbol, 1, SYMBOL_BYTES_MAX))?;
    text("payTableVersion", &m.pay_table_version, 0, SYMBOL_BYTES_MAX)
});

rules!(bets BetRejected, |m| {
    event_id("betId", &m.bet_id)?;
    game(&m.game)?;
    amount("stake", m.stake.as_ref(), Sign::Positive)?;
    known_enum::<RejectReason>("reason", m.reason)
}, enum reason: RejectReason);

rules!(bets BetVoided, |m| {
    event_id("betId", &m.bet_id)?;
    game(&m.game)?;
    amount("stake", m.stake.as_ref(), Sign::Positive)?;
    text("reason", &m.reason, 1, REASON_BYTES_MAX)?;
    reversed(m.reversed_stake.as_ref(), m.reversed_payout.as_ref())?;
    same_currency("reversedStake", m.stake.as_ref(), m.reversed_stake.as_ref())
});

rules!(bets BetConflict, |m| event_id("betId", &m.bet_id));

rules!(payments ApplyWager, |m| {
    event_id("wagerId", &m.wager_id)?;
    game(&m.game)?;
    transfer("stake", m.stake.as_ref(), Sign::Positive)?;
    transfer("payout", m.payout.as_ref(), Sign::NotNegative)?;
    same_currency("payout", m.stake.as_ref(), m.payout.as_ref())
});

rules!(payments VoidWager, |m| {
    event_id("wagerId", &m.wager_id)?;
    text("reason", &m.reason, 1, REASON_BYTES_MAX)
});

rules!(payments Deposit, |m| amount("amount", m.amount.as_ref(), Sign::Positive));

rules!(payments Withdraw, |m| amount("amount", m.amount.as_ref(), Sign::Positive));

rules!(payments ProviderReported, |m| {
    event_id("paymentId", &m.payment_id)?;
    known_enum::<ProviderOutcome>("outcome", m.outcome)?;
    text("providerReference", &m.provider_reference, 0, REFERENCE_BYTES_MAX)?;
    amount("amount", m.amount.as_ref(), Sign::Positive)
}, enum outcome: ProviderOutcome);

rules!(payments WagerApplied, |m| {
    event_id("wagerId", &m.wager_id)?;
    game(&m.game)?;
    transfer("stake", m.stake.as_ref(), Sign::Positive)?;
    transfer("payout", m.payout.as_ref(), Sign::NotNegative)?;
    amount("balanceAfter", m.balance_after.as_ref(), Sign::Any)?;
    same_currency("payout", m.stake.as_ref(), m.payout.as_ref())?;
    same_currency("balanceAfter", m.stake.as_ref(), m.balance_after.as_ref())?;
    positive("seq", m.seq)
});

rules!(payments WagerRejected, |m| {
    event_id("wagerId", &m.wager_id)?;
    game(&m.game)?;
    amount("stake", m.stake.as_ref(), Sign::Positive)?;
    known_enum::<RejectReason>("reason", m.reason)?;
    optional_amount("balance", m.balance.as_ref(), Sign::Any)?;
    same_currency("balance", m.stake.as_ref(), m.balance.as_ref())
}, enum reason: RejectReason);

rules!(payments WagerVoided, |m| {
    event_id("wagerId", &m.wager_id)?;
    optional_amount("balanceAfter", m.balance_after.as_ref(), Sign::Any)?;
    text("reason", &m.reason, 1, REASON_BYTES_MAX)?;
    reversed(m.reversed_stake.as_ref(), m.reversed_payout.as_ref())?;
    same_currency("balanceAfter", m.reversed_stake.as_ref(), m.balance_after.as_ref())
});

rules!(payments DepositCompleted, |m| {
    event_id("paymentId", &m.payment_id)?;
    transfer("amount", m.amount.as_ref(), Sign::Positive)?;
    amount("balanceAfter", m.balance_after.as_ref(), Sign::Any)?;
    same_currency("balanceAfter", m.amount.as_ref(), m.balance_after.as_ref())?;
    text("providerReference", &m.provider_reference, 0, REFERENCE_BYTES_MAX)
});

rules!(payments DepositFailed, |m| {
    event_id("paymentId", &m.payment_id)?;
    amount("amount", m.amount.as_ref(), Sign::Positive)?;
    known_enum::<RejectReason>("reason", m.reason)
}, enum reason: RejectReason);

rules!(payments WithdrawalCompleted, |m| {
    event_id("paymentId", &m.payment_id)?;
    transfer("amount", m.amount.as_ref(), Sign::Positive)?;
    amount("balanceAfter", m.balance_after.as_ref(), Sign::Any)?;
    same_currency("balanceAfter", m.amount.as_ref(), m.balance_after.as_ref())?;
    text("providerReference", &m.provider_reference, 0, REFERENCE_BYTES_MAX)
});

rules!(payments WithdrawalFailed, |m| {
    event_id("paymentId", &m.payment_id)?;
    amount("amount", m.amount.as_ref(), Sign::Positive)?;
    known_enum::<RejectReason>("reason", m.reason)
}, enum reason: RejectReason);

rules!(payments RestrictionsApplied, |m| event_id("causeId", &m.cause_id));

rules!(payments CommandConflict, |m| {
    event_id("commandId", &m.command_id)?;
    let known = m.command_type.parse::<EventType>();
    known.map(|_| ()).map_err(|_| FieldError::new("commandType", "is not an event type"))
});

rules!(players PlayerRegistered, |m| {
    email(&m.email)?;
    text("displayName", &m.display_name, 1, DISPLAY_NAME_BYTES_MAX)?;
    currency_code("currency", &m.currency)
});

rules!(players LimitsChanged, |m| {
    optional_amount("maxStake", m.max_stake.as_ref(), Sign::Positive)?;
    optional_amount("dailyLoss", m.daily_loss.as_ref(), Sign::Positive)
});

rules!(players SelfExclusionStarted, |m| positive("untilEpochMs", m.until_epoch_ms));

rules!(players KycStatusChanged, |m| known_enum::<KycStatus>("status", m.status), enum status: KycStatus);

rules!(players PreferencesChanged, |_m| Ok(()));
