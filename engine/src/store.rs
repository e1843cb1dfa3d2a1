//! A file and its copies: looked over, salvaged, backed up and restored, apart from any engine.
//!
//! What is here needs no engine and no runtime, and blocks for as long as the file is long; call it on a thread that may
//! wait. The copy of a file that an engine works on is [`Engine::backup`].

use crate::engine::Engine;
use crate::env;
use crate::sealed::PayloadCodec;
use outlive_storage::redb::RedbStore;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use tokio::sync::oneshot;

pub use outlive_storage::redb::{
    CompactReport, CopyError, CopyReport, DefinitionInfo, EXPORT_VERSION, ExportReport,
    FINDINGS_MAX, Finding, Findings, FoundBy, Holder, ImportError, ImportReport, Inside,
    JournalSaved, LineFault, OnRepair, OpenError, Opened, PageCheck, Progress, RepairReport,
    ResealError, ResealReport, SalvageReport, StoreInfo, TableCount, TableSaved, VerifyReport,
    Watch, Wrong,
};

/// A chance number of this call, and the time as the system has it: both are for the lock file.
fn signature() -> (u128, u64) {
    (env::fresh_instance(), env::Clock::now_of_system().0)
}

/// Says what a file is without changing it: its size and format, how many tasks stand where, the last open, and who has
/// it. Of a file that an engine has open, only its size and its holder are told.
///
/// Two indexes are read whole, nothing else but lengths: a file of a million tasks takes well below a second.
///
/// ```
/// use outlive::{Engine, store};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("tasks.redb");
/// let engine = Engine::builder(&path).open().await?;
/// let holder = store::info(&path)?.holder.expect("this process");
/// assert_eq!(holder.pid, Some(std::process::id()));
/// engine.shutdown(std::time::Duration::from_secs(1)).await;
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`OpenError`]: the file cannot be read at all; what to do is in each variant.
pub fn info(path: impl AsRef<Path>) -> Result<StoreInfo, OpenError> {
    outlive_storage::redb::info(path.as_ref(), signature())
}

/// The ids in a file that begin with `prefix`, in order, at most `max` of them; nothing is changed. For completions and
/// the like: it reads a few pages, and does not open a file that an engine has.
///
/// # Errors
/// As for [`info`]; [`OpenError::AlreadyRunning`]: ask that engine.
pub fn ids(path: impl AsRef<Path>, prefix: &str, max: usize) -> Result<Vec<Box<str>>, OpenError> {
    outlive_storage::redb::ids(path.as_ref(), (prefix, max), signature())
}

/// Reads the whole file, on which no engine may be, and says what is wrong with it; nothing is changed.
///
/// ```
/// use outlive::{Engine, store};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("tasks.redb");
/// let engine = Engine::builder(&path).open().await?;
/// engine.shutdown(std::time::Duration::from_secs(1)).await;
/// let report = store::verify(&path)?;
/// for finding in report.findings.named() {
///     println!("{finding}");
/// }
/// assert!(report.is_whole());
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`OpenError`]: the file cannot be read at all; what to do is in each variant. Damage is in the report.
pub fn verify(path: impl AsRef<Path>) -> Result<VerifyReport, OpenError> {
    let now = env::Clock::now_of_system();
    outlive_storage::redb::verify(path.as_ref(), env::fresh_instance(), now.0)
}

/// As [`verify`], and somebody is told how far it has come.
///
/// # Errors
/// As for [`verify`].
pub fn verify_watched(path: impl AsRef<Path>, watch: &Watch) -> Result<VerifyReport, OpenError> {
    let (instance, now_us) = signature();
    outlive_storage::redb::verify_watched(path.as_ref(), instance, now_us, watch)
}

/// Opens the file, on which no engine may be, as an engine would, so that what a crash has left is repaired; then verifies
/// it. Nothing of a task is changed, and what is damaged stays so: that is in the report, and [`salvage`] makes a new file
/// of what is whole.
///
/// `on_repair` is told how far a repair has come, from 0 to 1; `watch`, how far the look afterwards.
///
/// # Errors
/// [`OpenError::Damaged`]: it cannot be repaired, salvage it. The others as for an open, but nothing is created.
pub fn repair(
    path: impl AsRef<Path>,
    on_repair: Option<OnRepair>,
    watch: &Watch,
) -> Result<RepairReport, OpenError> {
    outlive_storage::redb::repair(path.as_ref(), signature(), on_repair, watch)
}

/// Makes the file, on which no engine may be, as small as what is in it. Every page is checked first, and nothing of a
/// damaged file is moved; after a crash at any moment the file is whole. What was deleted before is not in it any more.
///
/// It takes about as long as reading the file, and once more what is to be moved: see `docs/speed.md` for figures.
///
/// # Errors
/// [`OpenError`]: what to do is in each variant; [`OpenError::Damaged`] for a file that is to be salvaged instead.
pub fn compact(path: impl AsRef<Path>) -> Result<CompactReport, OpenError> {
    let now = env::Clock::now_of_system();
    outlive_storage::redb::compact(path.as_ref(), env::fresh_instance(), now.0)
}

/// Seals every value of the file, on which no engine may be, anew under the codec's current key, clear values too: to change
/// keys, or to adopt them. When it returns with a whole report, older keys are not needed any more, and no clear value is
/// taken for one of the file's. Etags stay what they are.
///
/// After a crash at any moment each value is under its old key or the new one: keep both, and begin again; what was done is
/// not done twice. Earlier versions lie in unused pages of the file until it is [compacted](compact).
///
/// ```
/// # #[cfg(feature = "seal")] {
/// use outlive::sealed::{Key, Keys};
/// use outlive::{Engine, store};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("tasks.redb");
/// # let [old, new] = [Key::generate()?, Key::generate()?];
/// # let engine = Engine::builder(&path).payload_codec(Keys::new(old.clone())).open().await?;
/// # engine.shutdown(std::time::Duration::ZERO).await;
/// let report = store::reseal(&path, Keys::new(new.clone()).older(old))?;
/// assert!(report.is_whole());
/// store::compact(&path)?;
/// let engine = Engine::builder(&path).payload_codec(Keys::new(new)).open().await?;
/// # Ok(()) }
/// # main().unwrap();
/// # }
/// ```
///
/// # Errors
/// [`ResealError`]: what to do is in each variant.
pub fn reseal(
    path: impl AsRef<Path>,
    codec: impl PayloadCodec,
) -> Result<ResealReport, ResealError> {
    let now = env::Clock::now_of_system();
    let instance = env::fresh_instance();
    outlive_storage::redb::reseal(path.as_ref(), Arc::new(codec), instance, now.0)
}

/// As [`reseal`], and somebody is told how far it has come.
///
/// # Errors
/// As for [`reseal`].
pub fn reseal_watched(
    path: impl AsRef<Path>,
    codec: impl PayloadCodec,
    watch: &Watch,
) -> Result<ResealReport, ResealError> {
    let codec = Arc::new(codec);
    outlive_storage::redb::reseal_watched(path.as_ref(), codec, signature(), watch)
}

/// Makes a new file at `to` of what is whole in the damaged file at `from`, also where that does not open any more. The
/// damaged file is not changed. An engine opened on the new file recovers what ran, as after a crash.
///
/// # Errors
/// [`CopyError`]: what to do is in each variant. Nothing lies at `to` then, if nothing did before.
pub fn salvage(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<SalvageReport, CopyError> {
    let now = env::Clock::now_of_system();
    let instance = env::fresh_instance();
    outlive_storage::redb::salvage(from.as_ref(), to.as_ref(), instance, now.0)
}

/// As [`salvage`], and somebody is told how far it has come.
///
/// # Errors
/// As for [`salvage`].
pub fn salvage_watched(
    from: impl AsRef<Path>,
    to: impl AsRef<Path>,
    watch: &Watch,
) -> Result<SalvageReport, CopyError> {
    let (instance, now_us) = signature();
    let paths = (from.as_ref(), to.as_ref());
    outlive_storage::redb::salvage_watched(paths, instance, now_us, watch)
}

/// Makes a file at `to`, where nothing may lie, of a backup, which is not changed. It is a file of its own: etags and
/// generations begin far above those of the original and of the backup. An engine opened on it recovers what ran when the
/// backup was made, as after a crash.
///
/// # Errors
/// [`CopyError`]: what to do is in each variant; [`CopyError::Exists`] when something lies at `to`, which is never written
/// over.
pub fn restore(backup: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<CopyReport, CopyError> {
    let now = env::Clock::now_of_system();
    let instance = env::fresh_instance();
    outlive_storage::redb::restore(backup.as_ref(), to.as_ref(), instance, now.0)
}

/// As [`restore`], and somebody is told how far it has come.
///
/// # Errors
/// As for [`restore`].
pub fn restore_watched(
    backup: impl AsRef<Path>,
    to: impl AsRef<Path>,
    watch: &Watch,
) -> Result<CopyReport, CopyError> {
    let (instance, now_us) = signature();
    let paths = (backup.as_ref(), to.as_ref());
    outlive_storage::redb::restore_watched(paths, instance, now_us, watch)
}

/// Writes the file, on which no engine may be and which is not changed, to `out` as lines of JSON: every task with its
/// definition, state, facts and options, inputs that wait, results, steps, questions, stream and metadata, and the log.
///
/// The first line names the version ([`EXPORT_VERSION`]), the last one counts the others: without it the export is not
/// whole. Values are JSON as they were given. [`import`] makes a file of it again.
///
/// ```
/// use outlive::{Engine, store};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let [path, copy] = ["tasks.redb", "copy.redb"].map(|name| directory.path().join(name));
/// # Engine::builder(&path).open().await?.shutdown(std::time::Duration::from_secs(1)).await;
/// let mut lines = Vec::new();
/// store::export(&path, &mut lines, &store::Watch::default())?;
/// let report = store::import(&mut lines.as_slice(), &copy)?;
/// assert_eq!(report.tasks, 0);
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`CopyError`]: what to do is in each variant. Damaged entries are no error: they are left out, and in the report.
pub fn export(
    path: impl AsRef<Path>,
    out: &mut dyn Write,
    watch: &Watch,
) -> Result<ExportReport, CopyError> {
    outlive_storage::redb::export(path.as_ref(), out, signature(), watch)
}

/// As [`export`], to a new file at `to`, readable by its owner only, which appears whole or not at all.
///
/// # Errors
/// As for [`export`]; [`CopyError::Exists`] when something lies at `to`, which is never written over.
pub fn export_to(
    path: impl AsRef<Path>,
    to: impl AsRef<Path>,
    watch: &Watch,
) -> Result<ExportReport, CopyError> {
    outlive_storage::redb::export_to((path.as_ref(), to.as_ref()), signature(), watch)
}

/// Makes a file at `to`, where nothing may lie, of the lines of an [`export`]. Every task stands in it as it stood; one
/// that was running is recovered by the first engine that opens the file, as after a crash. It is a file of its own: etags
/// and generations begin 2^32 above those of the exported one. When this returns, it is whole and durable.
///
/// # Errors
/// [`ImportError`]: what to do is in each variant; a line that is not right is named by its number. Nothing lies at `to`
/// then, if nothing did before.
pub fn import(from: &mut dyn BufRead, to: impl AsRef<Path>) -> Result<ImportReport, ImportError> {
    outlive_storage::redb::import(from, to.as_ref(), signature())
}

/// The way to the engine's file, if it has one. It does not keep the file open.
pub(crate) type Door = Weak<RedbStore>;

impl Engine {
    /// Copies the engine's file to `to`, where nothing may lie, while the engine works on. When this returns, the copy is
    /// whole and durable, readable by its owner only.
    ///
    /// Everything acknowledged before the call is in it, and each task is in it as one commit left it. Tasks that run at
    /// that moment are recovered by the first engine that opens the copy, as after a crash. Etags and generations of the
    /// copy begin 2^32 above those of this file, so that nothing decided on one of the two is taken for a decision on the
    /// other; the effect ids of steps stay what they are. Pages freed meanwhile are not used again before the copy is done,
    /// so the file grows by what is written in that time. The copy goes on when this future is dropped.
    ///
    /// ```
    /// # use outlive::{Ctx, Engine, HandlerError, TaskDef, store};
    /// # const ECHO: TaskDef<u32, u32> = TaskDef::new("echo");
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let [path, backup, restored] = ["a.redb", "b.redb", "c.redb"].map(|name| directory.path().join(name));
    /// # let engine = Engine::builder(&path).task(ECHO, |_: Ctx, n| async move { Ok::<_, HandlerError>(n) }).open().await?;
    /// engine.run(ECHO, "a", &1).await?;
    /// let copy = engine.backup(&backup).await?;
    /// assert_eq!(copy.entries("tasks"), 1);
    /// store::restore(&backup, &restored)?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`CopyError`]: what to do is in each variant. The engine goes on in every case. [`CopyError::NoFile`] for an engine
    /// in memory or on a store of the caller's.
    pub async fn backup(&self, to: impl Into<PathBuf>) -> Result<CopyReport, CopyError> {
        let to = to.into();
        let door = self.shared().door.as_ref().ok_or(CopyError::NoFile)?;
        let store: Arc<RedbStore> = door.upgrade().ok_or(CopyError::Stopped)?;
        let now = self.shared().dispatcher.clock.now();
        let (sender, copied) = oneshot::channel();
        let copy = move || {
            let copied = store.backup(&to, env::fresh_instance(), now.0);
            // The file must be free when the answer is out, not a moment later.
            drop(store);
            // A caller that left loses nothing: the copy is there.
            let _ = sender.send(copied);
        };
        let failed = |error: std::io::Error| CopyError::Failed {
            message: error.to_string().into(),
        };
        env::thread("outlive-backup", copy).map_err(failed)?;
        copied.await.map_err(|_| CopyError::Stopped)?
    }
}
