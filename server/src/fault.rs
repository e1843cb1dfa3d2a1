//! Each fault of the engine as a problem: its status, what to do next, and the fields a program decides by.

use crate::names;
use crate::problem::{Kind, Problem};
use outlive::{Fault, StoreError, StoreErrorKind, WaitReason};
use serde_json::{Map, Value, json};

impl<F: Into<Fault>> From<F> for Problem {
    fn from(fault: F) -> Problem {
        let fault: Fault = fault.into();
        let (kind, hint) = answer(&fault);
        let problem = Problem::new(kind, fault.code())
            .hint(hint)
            .fields(fields(&fault));
        match &fault {
            // Where the file lies, and what the system said of it, is for whoever reads the log.
            Fault::Store(error) | Fault::Unknown { cause: error, .. }
                if !cfg!(planted = "server_tells_inner_errors") =>
            {
                let told = "the store could not do it; the log has more under this request's id";
                problem.detail(told).logged(error.to_string())
            }
            Fault::FactoryFailed { error, .. } => {
                let logged = error.to_string();
                problem.detail(fault.to_string()).logged(logged)
            }
            fault => problem.detail(fault.to_string()),
        }
    }
}

/// What a fault is over HTTP. There is no wildcard: one more fault does not compile before it has its answer here.
fn answer(fault: &Fault) -> (Kind, &'static str) {
    match fault {
        Fault::InvalidId(_) => (
            Kind::Invalid,
            "use 1 to 256 characters of A-Z a-z 0-9 . _ : -",
        ),
        Fault::InvalidCursor(_) => (Kind::Invalid, "give `next` unchanged, or begin without one"),
        Fault::InvalidRetry(_) => (Kind::Invalid, "correct the retry policy"),
        Fault::TooLarge { .. } => (Kind::TooLarge, "shorten it, or give the place of the data"),
        Fault::TooDeep { .. } => (Kind::Invalid, "make the value flatter"),
        Fault::NotJson { .. } => (Kind::Invalid, "give JSON"),
        Fault::ReservedTag { .. } => (Kind::Invalid, "keys beginning with outlive. are its own"),
        Fault::InvalidTagKey { .. } => {
            (Kind::Invalid, "use 1 to 64 characters of A-Z a-z 0-9 _ . -")
        }
        Fault::TooManyTags { .. } => (Kind::Invalid, "leave some out"),
        Fault::InvalidSession(_) => (
            Kind::Invalid,
            "use 1 to 256 characters of A-Z a-z 0-9 . _ : -",
        ),
        Fault::InvalidTraceparent { .. } => (Kind::Invalid, "pass it on as it came"),
        Fault::FactoryFailed { .. } => (Kind::Internal, "say the value in the call"),
        Fault::NoHandler { .. } => (Kind::NotFound, "GET /v1/task-types lists what there is"),
        Fault::NotFound { .. } => (
            Kind::NotFound,
            "start it, or look for it with GET /v1/tasks",
        ),
        Fault::InputNotFound { .. } => (Kind::NotFound, "it was never accepted, or is forgotten"),
        Fault::Conflict { .. } => (
            Kind::Conflict,
            "GET /v1/tasks/{id}/explain tells what it takes",
        ),
        Fault::OtherDefinition { .. } => (Kind::Conflict, "use another id"),
        Fault::PreconditionFailed { .. } => (Kind::Precondition, "look at the task, decide anew"),
        Fault::SteeringQueueFull { .. } => (Kind::Conflict, "try again when a turn has ended"),
        Fault::ResultGone { .. } => (Kind::Gone, "later turns took its place; ask sooner"),
        Fault::Removed { .. } => (Kind::Gone, "its id is free again"),
        Fault::Undecodable { .. } => (Kind::Unprocessable, "use the program that wrote it"),
        Fault::NotAsked { .. } => (Kind::NotFound, "GET /v1/asks lists the open questions"),
        Fault::AlreadyAnswered { .. } => (Kind::Conflict, "the first answer counts"),
        Fault::Expired { .. } => (Kind::Conflict, "its default counts, if it has one"),
        Fault::DigestMismatch { .. } => (Kind::Conflict, "look at the question, decide anew"),
        Fault::NotLogged => (Kind::NotFound, "open the engine with log_events(true)"),
        Fault::ShuttingDown => (Kind::Unavailable, "ask again when the server is up again"),
        Fault::Unknown { .. } => (Kind::Unavailable, "ask again with the same ids"),
        Fault::Store(error) => of_store(error),
    }
}

fn of_store(error: &StoreError) -> (Kind, &'static str) {
    match error.kind() {
        StoreErrorKind::Full => (
            Kind::Unavailable,
            "the disk is full; ask again with the same ids",
        ),
        StoreErrorKind::Failed | StoreErrorKind::Poisoned => (
            Kind::Unavailable,
            "ask again with the same ids when the server is up again",
        ),
        StoreErrorKind::Corrupt => (Kind::Internal, "the rest of the file is usable; restore it"),
        StoreErrorKind::TooNew => (Kind::Internal, "open the file with the newer version"),
        StoreErrorKind::KeyMissing => (Kind::Internal, "open the file with the older key, too"),
        StoreErrorKind::Replaced => (Kind::Internal, "somebody replaced the file; stop and look"),
        StoreErrorKind::Malformed => (Kind::Internal, "report it: this is a bug"),
    }
}

/// What a program may decide by. There is no wildcard here either.
fn fields(fault: &Fault) -> Map<String, Value> {
    let fields = match fault {
        Fault::Conflict {
            id,
            status,
            reason,
            etag,
        } => json!({
            "task_id": id.as_str(),
            "task_status": status.as_str(),
            "wait": reason.as_ref().map(wait),
            "etag": etag.map(|etag| etag.to_string()),
        }),
        Fault::PreconditionFailed {
            id,
            etag,
            last_input_id,
        } => json!({
            "task_id": id.as_str(),
            "etag": etag.map(|etag| etag.to_string()),
            "last_input_id": last_input_id.as_ref().map(|id| id.as_str().to_owned()),
        }),
        Fault::OtherDefinition { id, name } => json!({"task_id": id.as_str(), "task": name}),
        Fault::NoHandler { name } => json!({"task": name}),
        Fault::NotFound { id } | Fault::Removed { id } => json!({"task_id": id.as_str()}),
        Fault::InputNotFound { id, input_id } => {
            json!({"task_id": id.as_str(), "input_id": input_id.as_str()})
        }
        Fault::SteeringQueueFull { max } => json!({"max": max}),
        Fault::ResultGone { turn } => json!({"turn": turn}),
        Fault::Undecodable { id, what, expected } => {
            json!({"task_id": id.as_str(), "what": what, "expected": expected})
        }
        Fault::NotAsked { id, key } | Fault::Expired { id, key } => {
            json!({"task_id": id.as_str(), "key": key})
        }
        Fault::AlreadyAnswered { id, key, same } => {
            json!({"task_id": id.as_str(), "key": key, "same": same})
        }
        Fault::DigestMismatch { id, key, expected } => {
            json!({"task_id": id.as_str(), "key": key, "digest": expected})
        }
        Fault::Unknown { id, input_id, .. } => json!({
            "task_id": id.as_str(),
            "input_id": input_id.as_ref().map(|id| id.as_str().to_owned()),
        }),
        Fault::TooLarge { what, size, limit } => {
            json!({"what": what, "size": size, "limit": limit})
        }
        Fault::TooDeep { what, limit } => json!({"what": what, "limit": limit}),
        Fault::NotJson { what, .. } | Fault::FactoryFailed { what, .. } => json!({"what": what}),
        Fault::ReservedTag { key } | Fault::InvalidTagKey { key } => json!({"key": key}),
        Fault::TooManyTags { count, limit } => json!({"count": count, "limit": limit}),
        Fault::InvalidSession(_)
        | Fault::InvalidTraceparent { .. }
        | Fault::InvalidId(_)
        | Fault::InvalidCursor(_)
        | Fault::InvalidRetry(_)
        | Fault::NotLogged
        | Fault::ShuttingDown
        | Fault::Store(_) => Value::Null,
    };
    match fields {
        Value::Object(fields) => fields,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Map::new()
        }
    }
}

/// What a task waits for, in short; `explain` has the rest, with the moments as the clock will show them.
pub(crate) fn wait(reason: &WaitReason) -> Value {
    let mut wait = names::tagged(reason);
    wait.retain(|key, _| key != "until" && key != "ended");
    Value::Object(wait)
}

#[cfg(test)]
mod tests {
    use super::*;
    use outlive::{ControlError, InvalidId, StartError, Status, TaskId};

    fn id() -> TaskId {
        TaskId::new("a").unwrap()
    }

    fn document(fault: Fault) -> Value {
        Problem::from(fault).document("r-1")
    }

    #[test]
    fn a_conflict_says_how_the_task_stands() {
        let conflict = ControlError::Conflict {
            id: id(),
            status: Status::Suspended,
            reason: Some(WaitReason::Input {
                reason: "more".into(),
            }),
            etag: 17,
        };
        let told = document(conflict.into());
        assert_eq!(told["type"], "urn:outlive:problem:conflict");
        assert_eq!(
            (&told["status"], &told["code"]),
            (&json!(409), &json!("conflict"))
        );
        assert_eq!(
            (&told["task_status"], &told["etag"]),
            (&json!("suspended"), &json!("17"))
        );
        assert_eq!(told["wait"], json!({"kind": "input", "reason": "more"}));
        assert!(told["hint"].is_string() && told["request_id"] == "r-1");
    }

    /// S15: what the system said of a file named the file.
    #[test]
    fn nothing_of_the_inside_is_told() {
        let inner = || StoreError::Failed {
            message: "/home/ada/tasks.redb: EIO".into(),
        };
        let unknown = Fault::Unknown {
            id: id(),
            input_id: None,
            cause: inner(),
        };
        let replaced = StoreError::Replaced {
            path: "/home/ada/tasks.redb".into(),
        };
        for fault in [Fault::Store(inner()), unknown, Fault::Store(replaced)] {
            let problem = Problem::from(fault);
            let told = problem.document("r-1").to_string();
            assert!(!told.contains("ada"));
            assert!(problem.logged.is_some_and(|logged| logged.contains("ada")));
        }
    }

    #[test]
    fn each_fault_has_its_status() {
        let store = |error| Fault::Store(error);
        let table = [
            (Fault::InvalidId(InvalidId::Empty), 400),
            (
                Fault::TooLarge {
                    what: "input",
                    size: 2,
                    limit: 1,
                },
                413,
            ),
            (
                Fault::TooDeep {
                    what: "input",
                    limit: 1,
                },
                400,
            ),
            (StartError::NotFound(id()).into(), 404),
            (Fault::SteeringQueueFull { max: 1 }, 409),
            (Fault::ResultGone { turn: 1 }, 410),
            (
                Fault::PreconditionFailed {
                    id: id(),
                    etag: None,
                    last_input_id: None,
                },
                412,
            ),
            (
                Fault::Undecodable {
                    id: id(),
                    what: "output".into(),
                    expected: "x".into(),
                },
                422,
            ),
            (
                Fault::FactoryFailed {
                    what: "title",
                    error: "no".into(),
                },
                500,
            ),
            (Fault::ShuttingDown, 503),
            (store(StoreError::Full), 503),
            (store(StoreError::Poisoned { cause: "x".into() }), 503),
            (
                store(StoreError::Corrupt {
                    table: "tasks",
                    key: "1".into(),
                }),
                500,
            ),
            (store(StoreError::Malformed { what: "x" }), 500),
        ];
        for (fault, status) in table {
            let code = fault.code();
            assert_eq!(document(fault)["status"], status, "{code}");
        }
    }
}
