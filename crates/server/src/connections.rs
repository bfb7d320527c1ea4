//! Accepting connections, HTTP/1.1 and HTTP/2, with TLS or without: who is slow to begin or stops reading is let go, whoever is at work is not.

use std::{io, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::ConnectInfo};
use hyper::{Request, body::Incoming, server::conn, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::graceful::{GracefulShutdown, Watcher},
};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    time::{sleep, timeout},
};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::either::Either;
use tower::ServiceExt as _;

use crate::tls::Tls;

/// How many connections there may be; further ones wait in the kernel's queue.
const CONNECTIONS: usize = 8192;
/// How long a client has to send the head of a request, and how long a connection is kept without one.
const HEAD: Duration = Duration::from_secs(60);
/// How long a client has to agree on TLS.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a client may take nothing of an answer. There is no limit on how long an answer takes.
const WRITE_IDLE: Duration = Duration::from_secs(60);
/// How much of a body is read at once, in bytes. Measured on pushes of 1 GiB: 64 KiB cost a third more CPU.
const BUFFER: usize = 512 * 1024;
/// How often an HTTP/2 client is asked whether it is still there.
const PING: Duration = Duration::from_secs(30);

/// Answers connections with `router` until `stop` resolves, then waits for the requests that are running.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    router: Router,
    stop: impl Future<Output = ()> + Send,
) {
    let graceful = GracefulShutdown::new();
    let (stopped, stopping) = watch::channel(());
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
                let (tls, mut stopping) = (tls.as_ref().map(|tls| tls.config()), stopping.clone());
                tokio::spawn(async move {
                    let opened = tokio::select! {
                        opened = open(stream, tls) => opened,
                        // Whoever has not begun when the server ends has nothing to lose.
                        _ = stopping.changed() => return,
                    };
                    let answered = match opened {
                        Ok(Some(opened)) => answer(opened, address, router, watcher).await,
                        Ok(None) => Ok(()),
                        Err(error) => Err(error.into()),
                    };
                    // What goes wrong with one connection concerns its client alone.
                    if let Err(error) = answered {
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
    drop((listener, stopped));
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

/// A connection over which a request can come.
struct Opened {
    stream: Either<Patient, TlsStream<Patient>>,
    http2: bool,
}

/// A stream that gives up a client that takes nothing.
type Patient = Pin<Box<TimeoutStream<TcpStream>>>;

/// Agrees with the client on what is spoken. `None` when it has been told to speak TLS.
async fn open(stream: TcpStream, tls: Option<Arc<ServerConfig>>) -> io::Result<Option<Opened>> {
    // Nagle's algorithm would hold small answers back for the client's next acknowledgement.
    stream.set_nodelay(true)?;
    let Some(tls) = tls else {
        let http2 = timeout(HEAD, begins_with_preface(&stream)).await??;
        return Ok(Some(Opened { stream: Either::Left(patient(stream)), http2 }));
    };
    let opened = timeout(HANDSHAKE, async {
        if !begins_with_handshake(&stream).await? {
            speak_tls(stream).await?;
            return Ok(None);
        }
        let stream = TlsAcceptor::from(tls).accept(patient(stream)).await?;
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok(Some(Opened { stream: Either::Right(stream), http2 }))
    });
    opened.await?
}

fn patient(stream: TcpStream) -> Patient {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_IDLE));
    Box::pin(stream)
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

async fn answer(opened: Opened, address: SocketAddr, router: Router, watcher: Watcher) -> Result<(), Failure> {
    let stream = TokioIo::new(opened.stream);
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(address));
        router.clone().oneshot(request)
    });
    if opened.http2 {
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

/// Whether a client begins as TLS does, with a record of its handshake (RFC 8446, 5.1); HTTP begins with a letter.
async fn begins_with_handshake(stream: &TcpStream) -> io::Result<bool> {
    const HANDSHAKE_RECORD: u8 = 22;
    let mut begin = [0];
    match stream.peek(&mut begin).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(begin == [HANDSHAKE_RECORD]),
    }
}

/// Tells a client that speaks HTTP what is spoken here, and lets it go.
async fn speak_tls(mut stream: TcpStream) -> io::Result<()> {
    const BODY: &str = "This server speaks TLS: write https:// (and leave out --plain-http and the like).\n";
    let head = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close";
    stream.write_all(format!("{head}\r\nContent-Length: {}\r\n\r\n{BODY}", BODY.len()).as_bytes()).await?;
    stream.shutdown().await?;
    // The kernel resets a connection that is closed with bytes unread, and the client may never see the answer.
    let mut left = stream.take(64 * 1024);
    let _ = timeout(Duration::from_secs(2), tokio::io::copy(&mut left, &mut tokio::io::sink())).await;
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
