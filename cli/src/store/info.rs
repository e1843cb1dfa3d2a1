//! `store info`: what a file is, also while an engine has it.

use super::fault::{Live, of_open};
use crate::app::App;
use crate::error::CliError;
use crate::exit::Exit;
use crate::facts::{Facts, Line, bytes, counted, moment};
use crate::output::Tone;
use outlive::store::{self, Holder, Inside};
use serde_json::json;
use std::path::Path;

pub(super) fn info(app: &App, path: &Path) -> Result<Exit, CliError> {
    let info = store::info(path).map_err(|error| of_open(path, Live::IsStopped, error))?;
    let mut facts = Facts::default();
    facts.say("path", info.path.display().to_string());
    match app.out.is_for_people() {
        true => facts.say("size", bytes(info.file_bytes)),
        false => facts.say("file_bytes", info.file_bytes),
    };
    if let Some(holder) = &info.holder {
        held(&mut facts, holder);
    }
    if let Some(found) = &info.inside {
        inside(&mut facts, found);
    }
    facts.tell(app)?;
    if let Some(holder) = &info.holder {
        let ask = holder.reached_at.first();
        app.out.note(&match ask {
            Some(url) => format!("its engine knows what is in it: outlive --url {url} stats"),
            None => "its engine alone knows what is in it, and serves it nowhere".to_owned(),
        });
    }
    Ok(Exit::Done)
}

fn held(facts: &mut Facts, holder: &Holder) {
    facts.say_in(Tone::Busy, "held_by_process", holder.pid);
    let since = holder.since.and_then(|since| moment(since.0));
    facts.say("held_since", since);
    facts.say("still_running", holder.still_running);
    facts.say(
        "reached_at",
        (!holder.reached_at.is_empty()).then(|| holder.reached_at.clone()),
    );
}

fn inside(facts: &mut Facts, inside: &Inside) {
    facts
        .say("format", inside.format)
        .say("incarnation", format!("{:032x}", inside.incarnation))
        .say_in(Tone::Strong, "tasks", inside.tasks)
        .say_in(Tone::Busy, "in_progress", inside.in_progress)
        .say_in(Tone::Waiting, "waiting", inside.waiting)
        .say("ended", inside.ended)
        .say("etag_max", inside.counters.etag.0)
        .say("generation_max", inside.counters.generation.0);
    if inside.is_sealed {
        facts.say("values", "sealed: an engine needs their keys");
    }
    if let Some(life) = &inside.last_life {
        facts.say("last_opened_at", moment(life.opened_at.0));
        match life.stopped_at {
            Some(at) => facts.say("last_stopped_at", moment(at.0)),
            None => facts.say_in(Tone::Waiting, "last_end", "its process died, or was killed"),
        };
    }
    let definitions = inside.definitions.iter().map(|found| {
        let (name, tasks, waiting) = (&*found.name, found.tasks, found.waiting);
        let value = json!({ "name": name, "tasks": tasks, "waiting": waiting });
        Line::new(
            value,
            format!("{name}: {}, {waiting} waiting", counted(tasks, "task")),
        )
    });
    facts.list("definitions", Tone::Plain, definitions.collect());
    let tables = inside.tables.iter().filter(|table| table.entries > 0);
    let tables = tables.map(|table| {
        let (name, entries) = (table.table, table.entries);
        let value = json!({ "table": name, "entries": entries });
        Line::new(value, format!("{name}: {entries}"))
    });
    facts.list("entries", Tone::Faint, tables.collect());
}
