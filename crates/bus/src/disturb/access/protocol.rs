//! The few encodings of Kafka's protocol that the requests need: big-endian numbers, and texts with a length of two bytes.

use crate::disturb::DisturbError;

/// A request before it is framed.
pub(super) struct Request {
    pub(super) api_key: i16,
    pub(super) version: i16,
    pub(super) body: Body,
}

impl Request {
    /// The bytes to send: a length, the head, the body.
    pub(super) fn framed(&self, client_id: &str) -> Vec<u8> {
        let mut request = Body::default();
        request.0.extend(self.api_key.to_be_bytes());
        request.0.extend(self.version.to_be_bytes());
        request.i32(1); // correlation id: the connection carries one request
        request.text(client_id);
        request.0.extend_from_slice(&self.body.0);
        let length = u32::try_from(request.0.len()).unwrap_or(u32::MAX);
        [length.to_be_bytes().as_slice(), &request.0].concat()
    }
}

/// Fields of a request in their order.
#[derive(Default)]
pub(super) struct Body(Vec<u8>);

impl Body {
    pub(super) fn i8(&mut self, value: i8) {
        self.0.extend(value.to_be_bytes());
    }

    pub(super) fn bool(&mut self, value: bool) {
        self.0.push(u8::from(value));
    }

    pub(super) fn i32(&mut self, value: i32) {
        self.0.extend(value.to_be_bytes());
    }

    pub(super) fn f64(&mut self, value: f64) {
        self.0.extend(value.to_be_bytes());
    }

    /// A text. Ours are names, which are shorter than the format's limit.
    pub(super) fn text(&mut self, text: &str) {
        let length = i16::try_from(text.len()).unwrap_or(i16::MAX);
        self.0.extend(length.to_be_bytes());
        self.0.extend_from_slice(text.as_bytes());
    }

    pub(super) fn null(&mut self) {
        self.0.extend((-1_i16).to_be_bytes());
    }
}

/// Why a request had no effect.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The broker's error.
    Refused(String),
    /// The answer ends too early.
    Short,
}

impl Failure {
    pub(super) fn of(self, doing: &'static str) -> DisturbError {
        match self {
            Self::Refused(reason) => DisturbError::Refused { doing, reason },
            Self::Short => DisturbError::NoAnswer { doing, reason: "the answer is too short".to_owned() },
        }
    }
}

/// Reads the fields of an answer in their order.
pub(super) struct Answer<'a>(&'a [u8]);

impl<'a> Answer<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Answer to the creation of access rules: one result for each.
    pub(super) fn results_of_creation(mut self) -> Result<(), Failure> {
        self.throttle_time_ms()?;
        for _ in 0..self.count()? {
            self.result()?;
        }
        Ok(())
    }

    /// Answer to the removal of access rules: for each filter a result, and one for each rule that matched.
    pub(super) fn results_of_removal(mut self) -> Result<(), Failure> {
        self.throttle_time_ms()?;
        for _ in 0..self.count()? {
            self.result()?;
            for _ in 0..self.count()? {
                self.result()?;
                self.take::<1>()?; // resource type
                self.text()?; // resource
                self.take::<1>()?; // pattern type
                self.text()?; // principal
                self.text()?; // host
                self.take::<2>()?; // operation, permission
            }
        }
        Ok(())
    }

    /// Answer to the change of one quota.
    pub(super) fn result_of_quota(mut self) -> Result<(), Failure> {
        self.throttle_time_ms()?;
        for _ in 0..self.count()?.min(1) {
            self.result()?;
        }
        Ok(())
    }

    fn throttle_time_ms(&mut self) -> Result<(), Failure> {
        self.take::<4>().map(drop)
    }

    fn count(&mut self) -> Result<i32, Failure> {
        self.take().map(i32::from_be_bytes)
    }

    /// An error code and its text.
    fn result(&mut self) -> Result<(), Failure> {
        let code = i16::from_be_bytes(self.take()?);
        let text = self.text()?;
        match code {
            0 => Ok(()),
            _ => Err(Failure::Refused(format!("error {code} ({})", text.as_deref().unwrap_or("no text")))),
        }
    }

    /// A text that may be null.
    fn text(&mut self) -> Result<Option<String>, Failure> {
        let length = i16::from_be_bytes(self.take()?);
        let Ok(length) = usize::try_from(length) else { return Ok(None) };
        let (text, rest) = self.0.split_at_checked(length).ok_or(Failure::Short)?;
        self.0 = rest;
        Ok(Some(String::from_utf8_lossy(text).into_owned()))
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Failure> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(Failure::Short)?;
        self.0 = rest;
        Ok(*taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_THROTTLE: [u8; 4] = [0; 4];

    fn created(results: &[u8]) -> Result<(), Failure> {
        Answer::new(&[NO_THROTTLE.as_slice(), results].concat()).results_of_creation()
    }

    #[test]
    fn every_result_counts() {
        let done = [0, 0, 0xff, 0xff];
        let refused = [0, 54, 0, 2, b'n', b'o'];
        assert_eq!(created(&[[0, 0, 0, 2].as_slice(), &done, &done].concat()), Ok(()));
        let one_refused = created(&[[0, 0, 0, 2].as_slice(), &done, &refused].concat());
        assert_eq!(one_refused, Err(Failure::Refused("error 54 (no)".to_owned())));
    }

    #[test]
    fn answer_that_ends_too_early_is_no_success() {
        assert_eq!(created(&[0, 0, 0, 1]), Err(Failure::Short));
        assert_eq!(created(&[]), Err(Failure::Short));
    }

    #[test]
    fn removed_rules_are_read_to_the_end() {
        let rule = [0, 0, 0xff, 0xff, 2, 0, 1, b't', 3, 0, 1, b'u', 0, 1, b'*', 4, 2];
        let failed = [0, 7, 0xff, 0xff, 2, 0, 1, b't', 3, 0, 1, b'u', 0, 1, b'*', 4, 2];
        let answer = |second: &[u8]| {
            let head = [0, 0, 0, 1, 0, 0, 0xff, 0xff, 0, 0, 0, 2];
            let bytes = [NO_THROTTLE.as_slice(), &head, &rule, second].concat();
            Answer::new(&bytes).results_of_removal()
        };
        assert_eq!(answer(&rule), Ok(()));
        assert_eq!(answer(&failed), Err(Failure::Refused("error 7 (no text)".to_owned())));
    }
}
