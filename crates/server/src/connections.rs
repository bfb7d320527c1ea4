//! Accepting connections, HTTP/1.1 and HTTP/2: who is slow to begin or stops reading is let go, whoever is at work is not.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::ConnectInfo};
use hyper::{Request, body::Incoming, server::conn, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::graceful::{GracefulShutdown, Watcher},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_io_timeout::TimeoutStream;
use tower::ServiceExt as _;

/// How many connections there may be; further ones wait in the kernel's queue.
const CONNECTIONS: usize = 8192;
/// How long a client has to send the head of a request, and how long a connection is kept without one.
const HEAD: Duration = Duration::from_secs(60);
/// How long a client may take nothing of an answer. There is no limit on how long an answer takes.
const WRITE_IDLE: Duration = Duration::from_secs(60);
/// How much of a body is read at once, in bytes. Measured on pushes of 1 GiB: 64 KiB cost a third more CPU.
const BUFFER: usize = 512 * 1024;
/// How often an HTTP/2 client is asked whether it is still there.
const PING: Duration = Duration::from_secs(30);

/// Answers connections with `router` until `stop` resolves, then waits for the requests that are running.
pub(crate) async fn serve(listener: TcpListener, router: Router, stop: impl Future<Output = ()> + Send) {
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = accept(&listener, &places) => accepted,
        };
        match accepted {
            Ok((stream, address, place)) => {
                let (router, watcher) = (router.clone(), graceful.watcher());
                tokio::spawn(async move {
                    // What goes wrong with one connection concerns its client alone.
                    if let Err(error) = connection(stream, address, router, watcher).await {
                        tracing::debug!(client = %address, %error, "a connection ended");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                // Out of file descriptors, most likely: those that end make room.
                tracing::error!(%error, "connections cannot be accepted");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    graceful.shutdown().await;
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, address) = listener.accept().await?;
    Ok((stream, address, place))
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

async fn connection(stream: TcpStream, address: SocketAddr, router: Router, watcher: Watcher) -> Result<(), Failure> {
    // Nagle's algorithm would hold small answers back for the client's next acknowledgement.
    stream.set_nodelay(true)?;
    let http2 = timeout(HEAD, begins_with_preface(&stream)).await??;
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_IDLE));
    let stream = TokioIo::new(Box::pin(stream));
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(address));
        router.clone().oneshot(request)
    });
    if http2 {
        let mut server = conn::http2::Builder::new(TokioExecutor::new());
        server.timer(TokioTimer::new()).keep_alive_interval(PING).keep_alive_timeout(PING);
        watcher.watch(server.serve_connection(stream, service)).await?;
    } else {
        let mut server = conn::http1::Builder::new();
        server.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(BUFFER);
        watcher.watch(server.serve_connection(stream, service)).await?;
    }
    Ok(())
}

/// Whether a client begins with the preface of HTTP/2 (RFC 9113, 3.4), looked at without taking it. No method of
/// HTTP/1.1 begins like it.
async fn begins_with_preface(stream: &TcpStream) -> io::Result<bool> {
    const PREFACE: &[u8] = b"PRI ";
    let mut begin = [0; 4];
    loop {
        let length = stream.peek(&mut begin).await?;
        let seen = &begin[..length];
        if length == PREFACE.len() || !PREFACE.starts_with(seen) {
            return Ok(seen == PREFACE);
        }
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // What is there already does not wake a peek; a client that sends byte by byte can wait.
        sleep(Duration::from_millis(10)).await;
    }
}
