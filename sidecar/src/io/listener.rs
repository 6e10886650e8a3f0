//! The public listener: HTTP for the page and the command table, WebSockets for sessions.

use crate::console::{self, Asset};
use crate::exchange::Exchange;
use crate::io::world::{BAD_TOKEN, World};
use crate::io::{upgrade, websocket};
use crate::origin::Allowed;
use crate::protocol::HistoryRequest;
use crate::public_http::{Route, bearer, route};
use crate::public_status;
use crate::session::Entrance;
use bytes::Bytes;
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::link::Caller;
use holdfast_shared::token::TokenRole;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::value::RawValue;
use socket2::SockRef;
use std::cell::Cell;
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

/// Bytes of an HTTP request's body at most, as of a WebSocket message.
const BODY_BYTES: usize = websocket::FRAME_BYTES;
/// Bytes of an HTTP head at most (a browser's cookies for `localhost` can be long).
const HEAD_BYTES: usize = 32 * 1024;
/// What a client gets to send a request's head.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// What a client gets to send a request's body: a megabyte over a slow network.
const BODY_WITHIN: Duration = Duration::from_secs(30);
/// Bytes the kernel may keep unsent per socket: with one message of ours below the 128 KiB of CONTRACTS.md 8.
const KERNEL_UNSENT_BYTES: u32 = 32 * 1024;
/// Connections that are not sessions at most, besides the sessions'.
const HTTP_CONNECTIONS: usize = 512;

type Answer = Response<Full<Bytes>>;

/// Accepts until dropped.
pub async fn serve(world: Rc<World>, listener: TcpListener) {
    let (at_most, allowed) = world.look(|exchange| {
        let settings = exchange.settings();
        let allowed =
            Allowed { hosts: settings.allowed_hosts.clone(), origins: settings.allowed_origins.clone() };
        (settings.sessions + HTTP_CONNECTIONS, Rc::new(allowed))
    });
    let open = Rc::new(Cell::new(0usize));
    loop {
        match listener.accept().await {
            Ok((stream, _)) if open.get() < at_most => {
                prepare(&world, &stream);
                let place = Place::taken(open.clone());
                tokio::task::spawn_local(connection(world.clone(), allowed.clone(), stream, place));
            }
            Ok(_) => tracing::warn!(at_most, "a connection was refused: too many are open"),
            Err(error) => {
                tracing::warn!(%error, "accept on the public listener");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// One of the counted connections.
struct Place(Rc<Cell<usize>>);

impl Place {
    fn taken(open: Rc<Cell<usize>>) -> Self {
        open.set(open.get() + 1);
        Self(open)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// Small messages go out at once, little is buffered where it cannot be seen, and a peer that is gone without
/// a word is noticed when it acknowledges nothing for as long as a session may be silent.
fn prepare(world: &Rc<World>, stream: &TcpStream) {
    let silence = world.look(|exchange| exchange.settings().silence());
    let socket = SockRef::from(stream);
    let results = [
        socket.set_tcp_nodelay(true),
        socket.set_tcp_notsent_lowat(KERNEL_UNSENT_BYTES),
        socket.set_tcp_user_timeout(Some(silence)),
    ];
    for error in results.into_iter().filter_map(Result::err) {
        tracing::debug!(%error, "set an option of a public socket");
    }
}

async fn connection(world: Rc<World>, allowed: Rc<Allowed>, stream: TcpStream, place: Place) {
    let place = Rc::new(place);
    let service = hyper::service::service_fn(move |request| {
        let (world, allowed, place) = (world.clone(), allowed.clone(), place.clone());
        async move { Ok::<_, Infallible>(answer(world, &allowed, request, place).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "public connection");
    }
}

async fn answer(world: Rc<World>, allowed: &Allowed, request: Request<Incoming>, place: Rc<Place>) -> Answer {
    let host = text(request.headers(), header::HOST).unwrap_or_default().to_owned();
    let head = *request.method() == Method::HEAD;
    let mut answer = match respond(world, allowed, request, place).await {
        Ok(answer) => answer,
        Err(error) => refusal(&error),
    };
    let headers = answer.headers_mut();
    let fixed = [
        (header::CACHE_CONTROL, "no-cache"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    headers.extend(fixed.map(|(name, value)| (name, HeaderValue::from_static(value))));
    if let Ok(policy) = HeaderValue::from_str(&console::content_security_policy(&host)) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    if head {
        *answer.body_mut() = Full::default();
    }
    answer
}

async fn respond(
    world: Rc<World>,
    allowed: &Allowed,
    mut request: Request<Incoming>,
    place: Rc<Place>,
) -> Result<Answer, ApiError> {
    let headers = request.headers();
    allowed
        .check(text(headers, header::HOST), text(headers, header::ORIGIN))
        .map_err(|error| ApiError::new(Code::Forbidden, error.to_string()))?;
    let uri = request.uri();
    match route(request.method(), uri.path(), uri.query().unwrap_or_default())? {
        Route::Console(asset) => Ok(file(asset, headers)),
        Route::Health => Ok(json(StatusCode::OK, Bytes::from_static(b"{}"))),
        Route::Documents => {
            let error = ApiError::new(Code::UnknownMethod, "this release has no documents");
            Ok(json(StatusCode::NOT_IMPLEMENTED, Bytes::from(serde_json::to_vec(&error).unwrap_or_default())))
        }
        Route::PublicStatus => public_status_now(&world),
        Route::Socket => open_socket(world, &mut request, place),
        Route::History(question) => history(&world, headers, question).await,
        Route::Rpc(method) => rpc(&world, request, &method).await,
    }
}

fn open_socket(
    world: Rc<World>,
    request: &mut Request<Incoming>,
    place: Rc<Place>,
) -> Result<Answer, ApiError> {
    let headers = upgrade::accept(request.headers())?;
    let given = bearer(text(request.headers(), header::AUTHORIZATION)).map(str::to_owned);
    let upgrade = hyper::upgrade::on(request);
    tokio::task::spawn_local(async move {
        if let Some((stream, read)) = upgrade::handed_over::<TcpStream>(upgrade).await {
            websocket::serve(world, stream, read, Entrance::Public { bearer: given }).await;
        }
        drop(place);
    });
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *answer.headers_mut() = headers;
    Ok(answer)
}

fn caller(world: &World, headers: &HeaderMap) -> Result<Caller, ApiError> {
    let identity = world.identify(bearer(text(headers, header::AUTHORIZATION)))?;
    if identity.role == TokenRole::Probe {
        return Err(ApiError::new(Code::Forbidden, "a probe's token opens only a probe's session"));
    }
    Ok(Caller { principal: identity.principal, role: identity.role, scope: identity.scope, focus: None })
}

async fn rpc(world: &Rc<World>, request: Request<Incoming>, method: &str) -> Result<Answer, ApiError> {
    let caller = caller(world, request.headers())?;
    let invalid = |message: String| ApiError::new(Code::InvalidRequest, message);
    let body = Limited::new(request.into_body(), BODY_BYTES).collect();
    let body =
        tokio::time::timeout(BODY_WITHIN, body).await.map_err(|_| invalid("the body is late".to_owned()))?;
    let body = body.map_err(|error| invalid(format!("read the body: {error}")))?.to_bytes();
    let params: Option<Box<RawValue>> = match body.trim_ascii().is_empty() {
        true => None,
        false => Some(serde_json::from_slice(&body).map_err(|error| invalid(error.to_string()))?),
    };
    let result = world.ask(|exchange, ticket, now| {
        exchange.call_http(ticket, caller, method, params.as_deref(), now);
    });
    Ok(json(StatusCode::OK, result.await?))
}

async fn history(
    world: &Rc<World>,
    headers: &HeaderMap,
    question: HistoryRequest,
) -> Result<Answer, ApiError> {
    let caller = caller(world, headers)?;
    let result = world.ask(|exchange, ticket, now| exchange.history_http(ticket, caller, question, now));
    Ok(json(StatusCode::OK, result.await?))
}

fn public_status_now(world: &World) -> Result<Answer, ApiError> {
    let told = |exchange: &Exchange| Some((exchange.public_status()?.get().to_owned(), exchange.forwards()));
    let (told, link_up) = world.look(told).ok_or_else(|| ApiError::new(Code::Unavailable, "starting"))?;
    Ok(json(StatusCode::OK, Bytes::from(public_status::fresh(&told, world.now().unix_ms, link_up))))
}

fn file(asset: &'static Asset, headers: &HeaderMap) -> Answer {
    let known = text(headers, header::IF_NONE_MATCH).is_some_and(|known| known.contains(&asset.etag));
    let mut answer =
        Response::new(Full::new(if known { Bytes::new() } else { Bytes::from_static(asset.bytes) }));
    if known {
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.content_type));
    if let Ok(etag) = HeaderValue::from_str(&asset.etag) {
        headers.insert(header::ETAG, etag);
    }
    answer
}

fn json(status: StatusCode, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

fn refusal(error: &ApiError) -> Answer {
    // A token that opens nothing is the one refusal that HTTP has a status of its own for.
    let status = match error.details.get(BAD_TOKEN) {
        Some(_) => StatusCode::UNAUTHORIZED,
        None => StatusCode::from_u16(error.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
    };
    json(status, Bytes::from(serde_json::to_vec(error).unwrap_or_default()))
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}
