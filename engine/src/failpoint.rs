//! Named points in the engine's own code at which a test may end everything; in a build without the test kit they are nothing.
//!
//! A commit either is in the store or is not, and a store can be made to break there. What lies between the commits is this
//! code: a point stands wherever a death would leave something half done if that something were kept in memory alone.

/// A point that the engine comes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
// Its name is public where tests may stop at it.
#[cfg_attr(not(feature = "testing"), allow(unreachable_pub))]
pub enum Failpoint {
    /// At an open: the handlers' names have their numbers, the life is not put down.
    Defined,
    /// At an open: the life is put down, nothing runs yet.
    LifePut,
    /// A batch is decided and not committed.
    Decided,
    /// A batch is committed, and nobody knows yet.
    Committed,
    /// What a transition of a committed batch brings about has begun, and its caller is not told.
    EffectsDone,
    /// Everybody in a batch is told, or a worker is to tell them.
    Told,
    /// A claim is committed, and its handler not spawned.
    Claimed,
    /// A handler is spawned, and nothing is read for it yet.
    Spawned,
    /// All that a handler needs is read, and it is not called.
    Prepared,
    /// A handler has ended, and nobody is told.
    HandlerEnded,
    /// The end of a turn is on its way to the writer.
    EndSent,
    /// A step has come to something, and that is not recorded.
    StepRan,
    /// A step is recorded, and its handler not told.
    StepRecorded,
    /// A turn is to leave memory, and nothing of that is put down.
    SettingAside,
    /// Changed metadata is on its way to the writer.
    MetadataSent,
    /// The scan for what ran before has read a page.
    RecoveryRead,
    /// The scan has sent what becomes of a page, and waits for the answers.
    RecoverySent,
    /// A round of claims is on its way.
    ClaimsSent,
    /// The sweep has removed a part of what hung on removed tasks.
    SweepTidied,
    /// The sweep has removed a batch of tasks, and has not come to their receipts.
    SweepExpired,
    /// Some children of a turn that is over are being told.
    ChildrenSent,
    /// A shutdown has begun: nothing more is claimed.
    ShutdownBegun,
    /// A shutdown has dropped the handlers, and the writer goes on.
    HandlersDropped,
    /// The writer stops, and the stop is not put down.
    StopUnsaid,
    /// The stop is put down, and whoever waits for it is not told.
    StopSaid,
}

#[cfg(feature = "testing")]
impl Failpoint {
    /// All of them.
    pub const ALL: [Failpoint; 25] = [
        Failpoint::Defined,
        Failpoint::LifePut,
        Failpoint::Decided,
        Failpoint::Committed,
        Failpoint::EffectsDone,
        Failpoint::Told,
        Failpoint::Claimed,
        Failpoint::Spawned,
        Failpoint::Prepared,
        Failpoint::HandlerEnded,
        Failpoint::EndSent,
        Failpoint::StepRan,
        Failpoint::StepRecorded,
        Failpoint::SettingAside,
        Failpoint::MetadataSent,
        Failpoint::RecoveryRead,
        Failpoint::RecoverySent,
        Failpoint::ClaimsSent,
        Failpoint::SweepTidied,
        Failpoint::SweepExpired,
        Failpoint::ChildrenSent,
        Failpoint::ShutdownBegun,
        Failpoint::HandlersDropped,
        Failpoint::StopUnsaid,
        Failpoint::StopSaid,
    ];
}

#[cfg(feature = "testing")]
pub use armed::{Armed, arm};

/// The engine comes by a point.
#[cfg(not(feature = "testing"))]
#[inline(always)]
pub(crate) fn reach(_: Failpoint) {}

/// The engine comes by a point: whoever armed this thread is told, and may unwind.
#[cfg(feature = "testing")]
pub(crate) fn reach(point: Failpoint) {
    if !cfg!(planted = "failpoints_not_reached") {
        armed::reach(point);
    }
}

#[cfg(feature = "testing")]
mod armed {
    //! What a thread does at the points; only engines that run inline on it come by there.

    use super::Failpoint;
    use std::cell::RefCell;
    use std::rc::Rc;

    type Hook = Rc<dyn Fn(Failpoint)>;

    thread_local! {
        static HOOK: RefCell<Option<Hook>> = const { RefCell::new(None) };
    }

    /// As long as this is held, its hook is called at every point; see [`arm`].
    #[derive(Debug)]
    #[must_use = "nobody is told once this is dropped"]
    pub struct Armed(());

    /// Calls `hook` at every point that an [inline](crate::Builder::inline) engine of this thread comes by. It may unwind:
    /// then the future that was polled ends there.
    pub fn arm(hook: impl Fn(Failpoint) + 'static) -> Armed {
        HOOK.set(Some(Rc::new(hook)));
        Armed(())
    }

    impl Drop for Armed {
        fn drop(&mut self) {
            HOOK.set(None);
        }
    }

    pub(super) fn reach(point: Failpoint) {
        // The hook may come by a point itself.
        let hook = HOOK.with_borrow(Clone::clone);
        if let Some(hook) = hook {
            hook(point);
        }
    }
}
