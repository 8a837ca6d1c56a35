//! `haggle load` measures a real server, and notices what goes wrong.

use std::process::{Command, Output};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::cli::{Running, SECRET};
use crate::harness::haggle;

/// A short run on a server, with these arguments, as JSON.
fn command(url: &str, args: &[&str]) -> Command {
    let mut command = haggle(&["load", "--url", url, "--json", "--rooms", "3", "--members", "2", "--warmup", "0"]);
    command.args(args).env("HAGGLE_JWT_SECRET", SECRET);
    command
}

fn run(url: &str, args: &[&str]) -> Output {
    command(url, args).output().expect("haggle runs")
}

fn read(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

fn serve(folder: &tempfile::TempDir) -> (Running, String) {
    let mut server = Running::serve(folder.path(), &[]);
    let url = server.url();
    (server, url)
}

#[test]
fn a_run_reports_every_figure_and_loses_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (server, url) = serve(&folder);
    let pid = server.pid().to_string();
    let load = ["--rate", "60", "--seconds", "2", "--attachments", "10", "--server-pid", &pid];
    // The second run finds the rooms of the first; the third waits for its answers.
    for args in [&load[..], &load[..], &["--closed", "3", "--seconds", "1", "--streams", "4"]] {
        let output = run(&url, args);
        let (found, table) = (read(&output), String::from_utf8_lossy(&output.stderr).into_owned());
        assert_eq!(output.status.code(), Some(0), "{table}");
        let number = |pointer: &str| found.pointer(pointer).and_then(Value::as_f64).expect(pointer);
        for above_0 in [
            "/sends/acknowledged",
            "/sends/per_second",
            "/deliveries/seen",
            "/deliveries/per_second",
            "/latency_ms/answer/p50",
            "/latency_ms/answer/p99_9",
            "/latency_ms/delivery/p99",
            "/streams/open",
        ] {
            assert!(number(above_0) > 0.0, "{above_0}: {found}");
        }
        for (one, other) in [
            ("/sends/sent", "/sends/acknowledged"),
            ("/deliveries/seen", "/deliveries/expected"),
            ("/latency_ms/answer/count", "/sends/acknowledged"),
            ("/latency_ms/delivery/count", "/deliveries/seen"),
        ] {
            assert!((number(one) - number(other)).abs() < 0.5, "{one} {other}: {found}");
        }
        for figure in ["lost", "repeated", "out_of_order", "altered"] {
            assert!(number(&format!("/deliveries/{figure}")) < 0.5, "{figure}: {found}");
        }
        if args.contains(&"--server-pid") && cfg!(target_os = "linux") {
            assert!(number("/server/memory") > 0.0);
            assert!(number("/server/cpu_seconds_per_1000_sends") > 0.0, "{found}");
            assert!((number("/deliveries/seen") - 3.0 * number("/sends/sent")).abs() < 0.5, "three in a room: {found}");
        } else {
            assert!(found.get("server").is_none());
            assert_eq!(found["setup"]["loop"], "closed");
            assert!((number("/streams/open") - 4.0).abs() < 0.5);
        }
        assert!(table.contains("p99.9"), "{table}");
    }
}

#[test]
fn refusals_are_told_by_their_code_and_are_no_loss() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut server = Running::serve(folder.path(), &["--rate-per-second", "1", "--rate-burst", "5"]);
    let output = run(&server.url(), &["--rate", "100", "--seconds", "2"]);
    let found = read(&output);
    assert_eq!(output.status.code(), Some(0), "{found}");
    let refused = found["sends"]["refused"]["rate_limited"].as_u64().expect("some are refused");
    assert!(refused > 50, "{found}");
    assert_eq!(found["sends"]["sent"].as_u64(), Some(refused + found["sends"]["acknowledged"].as_u64().expect("some")));
}

/// Passes connections on, and spoils the first `new_message` of one stream: its reader does not know the event.
async fn spoil(port: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let from = listener.local_addr().expect("an address").port();
    let spoilt = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let spoilt = std::sync::Arc::clone(&spoilt);
            tokio::spawn(async move {
                let server = TcpStream::connect(("127.0.0.1", port)).await.expect("the server");
                let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
                    (client.into_split(), server.into_split());
                let up = async { tokio::io::copy(&mut from_client, &mut to_server).await };
                let down = async {
                    let mut buffer = vec![0; 64 * 1024];
                    while let Ok(read @ 1..) = from_server.read(&mut buffer).await {
                        let name = b"event: new_message";
                        let at = buffer[..read].windows(name.len()).position(|window| window == name);
                        if let Some(at) = at.filter(|_| !spoilt.swap(true, std::sync::atomic::Ordering::Relaxed)) {
                            buffer[at..at + name.len()].copy_from_slice(b"event: own_message");
                        }
                        if to_client.write_all(&buffer[..read]).await.is_err() {
                            return;
                        }
                    }
                };
                tokio::join!(up, down)
            });
        }
    });
    from
}

#[tokio::test(flavor = "multi_thread")]
async fn one_delivery_that_does_not_arrive_is_noticed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (_server, url) = serve(&folder);
    let port = spoil(url.rsplit(':').next().expect("a port").parse().expect("a number")).await;
    let mut load = command(&format!("http://127.0.0.1:{port}"), &["--rate", "100", "--seconds", "1"]);
    let output = tokio::task::spawn_blocking(move || load.output()).await.expect("no panic").expect("haggle runs");
    let found = read(&output);
    assert_eq!(found["deliveries"]["lost"], 1, "{found}");
    assert_eq!(found["deliveries"]["repeated"], 0, "{found}");
    assert_eq!(output.status.code(), Some(1), "{found}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("haggle: deliveries: 1 lost"));
}

#[test]
fn a_server_that_goes_away_is_noticed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (mut server, url) = serve(&folder);
    let mut load = Running::start(command(&url, &["--rate", "100", "--seconds", "4"]));
    load.until("sending");
    assert!(server.stop().success());
    assert_eq!(load.end().code(), Some(1), "{}", load.read);
    assert!(load.read.contains("no_connection"), "{}", load.read);
}

#[test]
fn what_cannot_be_is_refused_in_a_sentence() {
    for (url, args, said) in [
        ("http://127.0.0.1:1", &[][..], "does not answer. Is `haggle serve` running there?"),
        ("http://192.0.2.1", &[], "--remote"),
        ("https://127.0.0.1:1", &[], "plain http only"),
        ("http://127.0.0.1:1", &["--rate", "0"], "--rate must be above 0"),
    ] {
        let output = run(url, args);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.starts_with("haggle: ") && error.contains(said) && error.lines().count() == 1, "{error}");
    }
}
