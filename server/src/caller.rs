//! Who asks: the bearer of a token, or nobody in particular where none is required.

use crate::problem::{Kind, Problem};
use crate::token::Access;

/// Whose request it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    /// Tells one caller from another; nothing of its token.
    pub(crate) name: String,
    access: Access,
}

impl Caller {
    /// Where no token is required.
    pub(crate) fn anyone() -> Caller {
        Caller {
            name: "anyone".to_owned(),
            access: Access::All,
        }
    }

    pub(crate) fn new(name: String, access: Access) -> Caller {
        Caller { name, access }
    }

    /// Whether it may do this.
    pub(crate) fn may(&self, changes: bool) -> Result<(), Problem> {
        let allowed = match self.access {
            Access::All => true,
            Access::Read => !changes || cfg!(planted = "server_reader_writes"),
        };
        let refused = || {
            let hint = "use a token that may change things";
            Problem::new(Kind::Forbidden, "read_only").hint(hint)
        };
        allowed.then_some(()).ok_or_else(refused)
    }
}
