//! The flag file of this checkout's platform: which faults are armed. Services read it again when it changes.
//!
//! Each change reads the file, changes one entry and replaces the whole file, under a lock that the gateway takes, too.

use std::path::PathBuf;

use anyhow::Result;
use faults::{Armed, FaultId, InvalidFlag, ReadSite, State};
use runtime::Layout;

/// The flag file.
#[derive(Clone, Debug)]
pub struct FlagFile {
    path: PathBuf,
}

impl FlagFile {
    /// The file of a platform. It need not exist.
    #[must_use]
    pub fn of(layout: &Layout) -> Self {
        Self { path: layout.faults_file() }
    }

    /// Returns the armed faults, without expired ones. A missing file arms none.
    ///
    /// # Errors
    /// When the file is not readable or not valid.
    pub fn armed(&self) -> Result<Vec<Armed>> {
        let (state, now_ms) = (State::read(&self.path)?, faults::now_ms());
        Ok(state.armed.into_iter().filter(|armed| !armed.is_expired(now_ms)).collect())
    }

    /// Returns the invalid flags, which are off. A file that is missing or cannot be read has none.
    #[must_use]
    pub fn invalid(&self) -> Vec<InvalidFlag> {
        State::read(&self.path).map(|state| state.invalid).unwrap_or_default()
    }

    /// Arms a fault. It replaces an earlier entry of the same fault.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn arm(&self, armed: Armed) -> Result<()> {
        Ok(State::update(&self.path, |state| state.arm(armed))?)
    }

    /// Arms a fault of which one read answers "off". Without a read it is armed as usual.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn arm_without(&self, armed: Armed, read: Option<ReadSite>) -> Result<()> {
        let arm = |state: &mut State| {
            state.arm(armed);
            if let Some(site) = read {
                state.make_ineffective(site);
            }
        };
        Ok(State::update(&self.path, arm)?)
    }

    /// Disarms one fault. Returns true if it was armed.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn disarm(&self, id: FaultId) -> Result<bool> {
        Ok(State::update(&self.path, |state| state.disarm(id))?)
    }

    /// Disarms all faults, and returns those that were armed. An invalid file is replaced.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn disarm_all(&self) -> Result<Vec<FaultId>> {
        let armed = State::disarm_all(&self.path)?;
        Ok(armed.into_iter().map(|armed| armed.id).collect())
    }
}

#[cfg(test)]
mod tests {
    use faults::{Scope, Values};

    use super::*;

    fn armed(id: FaultId, expires_at_ms: Option<i64>) -> Armed {
        Armed { id, scope: Scope::All, values: Values::defaults(id), expires_at_ms }
    }

    fn file() -> (tempfile::TempDir, FlagFile) {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path(), None, None);
        layout.create().unwrap();
        let file = FlagFile::of(&layout);
        (folder, file)
    }

    fn ids(file: &FlagFile) -> Vec<FaultId> {
        file.armed().unwrap().into_iter().map(|armed| armed.id).collect()
    }

    #[test]
    fn read_is_off_for_one_arming() {
        let (_folder, file) = file();
        let reads = |file: &FlagFile| State::read(&file.path).unwrap().ineffective;
        let site: ReadSite = "consumer.slow:effect@game".parse().unwrap();
        file.arm_without(armed(FaultId::ConsumerSlow, None), Some(site)).unwrap();
        assert_eq!(reads(&file), [site]);
        file.arm_without(armed(FaultId::ConsumerSlow, None), None).unwrap();
        assert!(reads(&file).is_empty() && file.armed().unwrap().len() == 1);
    }

    #[test]
    fn arming_replaces_same_fault() {
        let (_folder, file) = file();
        assert!(ids(&file).is_empty());
        file.arm(armed(FaultId::ConsumerSlow, None)).unwrap();
        let slower = Values::new(FaultId::ConsumerSlow, [("delay_ms", 700)]).unwrap();
        file.arm(Armed { values: slower, ..armed(FaultId::ConsumerSlow, None) }).unwrap();
        let all = file.armed().unwrap();
        assert_eq!((all.len(), all[0].values.get("delay_ms")), (1, 700));
    }

    #[test]
    fn disarming_leaves_other_faults() {
        let (_folder, file) = file();
        assert!(file.disarm_all().unwrap().is_empty() && !file.disarm(FaultId::ConsumerSlow).unwrap());
        for id in [FaultId::ConsumerSlow, FaultId::GameRtpDrift] {
            file.arm(armed(id, None)).unwrap();
        }
        assert!(file.disarm(FaultId::ConsumerSlow).unwrap());
        assert_eq!(ids(&file), [FaultId::GameRtpDrift]);
        assert_eq!(file.disarm_all().unwrap(), [FaultId::GameRtpDrift]);
        assert!(ids(&file).is_empty());
    }

    #[test]
    fn expired_fault_is_not_armed() {
        let (_folder, file) = file();
        file.arm(armed(FaultId::ConsumerSlow, Some(faults::now_ms() - 1))).unwrap();
        assert!(ids(&file).is_empty());
    }

    #[test]
    fn invalid_flag_is_off_until_it_is_disarmed() {
        let (_folder, file) = file();
        std::fs::write(&file.path, r#"{"flags": {"consumer.slow": {"state": "ON"}}}"#).unwrap();
        file.arm(armed(FaultId::GameRtpDrift, None)).unwrap();
        assert_eq!(ids(&file), [FaultId::GameRtpDrift]);
        assert_eq!(file.invalid().len(), 1);
        assert!(file.disarm(FaultId::ConsumerSlow).unwrap() && file.invalid().is_empty());
    }

    #[test]
    fn only_disarming_all_replaces_damaged_file() {
        let (_folder, file) = file();
        std::fs::write(&file.path, "{").unwrap();
        assert!(file.armed().is_err() && file.disarm(FaultId::ConsumerSlow).is_err());
        file.disarm_all().unwrap();
        assert!(ids(&file).is_empty());
    }
}
