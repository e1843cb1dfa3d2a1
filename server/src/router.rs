//! The router: every path, and the layers each request passes.

use crate::api::{
    asks, events, inputs, look, metrics, orders, probes, result, resume, start, steps, store,
    stream, tasks,
};
use crate::options::Options;
use crate::problem::{Kind, Problem};
use crate::state::{App, Shared};
use crate::{auth, gate, headers, requests};
use axum::Router;
use axum::http::{HeaderValue, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::IntoResponse;
use outlive::Engine;
use tokio::sync::watch;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// A router for an engine, to be mounted in any application, with the default [`Options`].
///
/// Mount it with [`Router::nest`]: it has a fallback of its own. A connection that ends takes nothing with it: no task is
/// cancelled because nobody listens any more.
pub fn router(engine: Engine) -> Router {
    router_with(engine, Options::new())
}

/// As [`router`], with options.
pub fn router_with(engine: Engine, options: Options) -> Router {
    // Nobody closes it: its streams end with the engine.
    let (_, closing) = watch::channel(false);
    closable(engine, options, closing)
}

/// A router whose streams end, and whose `/readyz` says so, when `closing` does.
pub(crate) fn closable(engine: Engine, options: Options, closing: watch::Receiver<bool>) -> Router {
    let app = Shared::new(engine, options, closing);
    let (router, _) = documented().split_for_parts();
    router
        .fallback(|| async {
            Problem::new(Kind::NotFound, "no_such_path").hint("GET /openapi.json")
        })
        .method_not_allowed_fallback(|| async { Problem::new(Kind::Method, "method_not_allowed") })
        .layer(from_fn_with_state(App::clone(&app), auth::known))
        .layer(from_fn_with_state(App::clone(&app), gate::kept))
        .layer(from_fn_with_state(App::clone(&app), requests::identified))
        .layer(from_fn(headers::added))
        .with_state(app)
}

/// What the document says of the whole.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "outlive",
        description = "Durable tasks, watched and driven from outside. Errors are problem documents (RFC 9457) with a stable `code`.",
    ),
    tags(
        (name = "tasks", description = "starting and looking"),
        (name = "inputs", description = "further inputs of a task"),
        (name = "orders", description = "what a task is told to do"),
        (name = "asks", description = "questions of handlers"),
        (name = "streams", description = "server-sent events"),
        (name = "engine", description = "the engine itself"),
    )
)]
struct Document;

/// The paths, each with its description: what is not described is not served.
fn documented() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(tasks::list, start::start))
        .routes(routes!(tasks::show, tasks::remove))
        .routes(routes!(tasks::ids))
        .routes(routes!(result::result))
        .routes(routes!(result::output))
        .routes(routes!(inputs::give, inputs::list))
        .routes(routes!(inputs::show, inputs::withdraw))
        .routes(routes!(orders::resume))
        .routes(routes!(orders::cancel))
        .routes(routes!(orders::terminate))
        .routes(routes!(orders::retry))
        .routes(routes!(look::history))
        .routes(routes!(look::explain))
        .routes(routes!(steps::list))
        .routes(routes!(steps::resolve))
        .routes(routes!(asks::of_task))
        .routes(routes!(asks::answer))
        .routes(routes!(asks::all))
        .routes(routes!(stream::follow))
        .routes(routes!(events::follow))
        .routes(routes!(store::types))
        .routes(routes!(store::store))
        .routes(routes!(store::version))
        .routes(routes!(probes::live))
        .routes(routes!(probes::ready))
        .routes(routes!(metrics::metrics))
        .routes(routes!(resume::resume))
        .routes(routes!(document))
}

/// The description of all this, in OpenAPI 3.1, as JSON: what `/openapi.json` answers.
pub fn openapi() -> String {
    let (_, document) = documented().split_for_parts();
    // A document of our own making has a JSON form.
    document.to_pretty_json().unwrap_or_default()
}

/// This description.
#[utoipa::path(get, path = "/openapi.json", tag = "engine", responses((status = 200)))]
async fn document() -> impl IntoResponse {
    let form = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, form)], openapi())
}
