//! The verbs: each a file with its grammar, its request, and what people are shown of the answer.

pub(crate) mod about;
pub(crate) mod asks;
pub(crate) mod ls;
pub(crate) mod orders;
pub(crate) mod result;
pub(crate) mod serve;
pub(crate) mod show;
pub(crate) mod start;
pub(crate) mod watch;

use crate::app::App;
use crate::args::Verb;
use crate::error::CliError;
use crate::exit::Exit;

/// Carries a verb out.
pub(crate) async fn run(verb: Verb, app: &App) -> Result<Exit, CliError> {
    match verb {
        Verb::Start(start) => start.run(app).await,
        Verb::Steer(steer) => steer.run(app).await,
        Verb::Ls(ls) => ls.run(app).await,
        Verb::Show(show) => show.run(app).await,
        Verb::Explain(explain) => explain.run(app).await,
        Verb::Result(result) => result.run(app).await,
        Verb::Watch(watch) => watch.run(app).await,
        Verb::Stats(stats) => stats.run(app).await,
        Verb::Cancel(cancel) => cancel.run(app).await,
        Verb::Terminate(terminate) => terminate.run(app).await,
        Verb::Retry(retry) => retry.run(app).await,
        Verb::Resume(resume) => resume.run(app).await,
        Verb::Rm(rm) => rm.run(app).await,
        Verb::Asks(asks) => asks.run(app).await,
        Verb::Answer(answer) => answer.run(app).await,
        Verb::Serve(serve) => serve.run(app).await,
        Verb::Config(config) => config.run(app),
        Verb::Version(version) => version.run(app).await,
        Verb::Store(store) => store.run(app),
        Verb::Demo(demo) => demo.run(app).await,
        Verb::Top(top) => top.run(app).await,
        Verb::Doctor(doctor) => doctor.run(app).await,
        Verb::Completions(completions) => completions.run(app),
    }
}
