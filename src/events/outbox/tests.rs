//! What a stream's reader gets of what is queued, and when a slow one is cut.

use std::future::poll_fn;
use std::task::Context;

use futures_util::FutureExt;
use futures_util::task::noop_waker;
use socket2::SockRef;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use super::*;

fn frame(text: &str) -> Frame {
    Frame::new(text.as_bytes())
}

fn outbox() -> Arc<Outbox> {
    Outbox::new(frame("too slow"))
}

async fn payloads(drain: &Drain) -> Vec<String> {
    let mut payloads = Vec::new();
    while let Some(payload) = poll_fn(|cx| drain.poll_payload(cx)).await {
        payloads.push(String::from_utf8(payload.to_vec()).unwrap());
    }
    payloads
}

/// Two ends of one connection.
async fn connected() -> (Arc<TcpStream>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (Arc::new(listener.accept().await.unwrap().0), client)
}

#[tokio::test]
async fn frames_leave_in_order_and_the_last_words_last() {
    let outbox = outbox();
    let drain = outbox.drain();
    assert_eq!(outbox.push(frame("one")), Pushed::First);
    assert_eq!(outbox.push(frame("two")), Pushed::Again);
    outbox.flush();
    assert_eq!(outbox.push(frame("three")), Pushed::First);
    outbox.close_with(frame("goodbye"));
    assert_eq!(outbox.push(frame("four")), Pushed::Closed);
    assert_eq!(payloads(&drain).await, ["one", "two", "three", "goodbye"]);
}

#[tokio::test]
async fn a_flush_wakes_the_body_once() {
    let outbox = outbox();
    let drain = outbox.drain();
    let reader = tokio::spawn(async move { poll_fn(|cx| drain.poll_payload(cx)).await });
    tokio::task::yield_now().await;
    outbox.push(frame("one"));
    outbox.flush();
    assert_eq!(reader.await.unwrap().unwrap(), "one");
}

#[tokio::test]
async fn a_reader_that_is_too_slow_hears_so_and_nothing_else() {
    let outbox = outbox();
    let drain = outbox.drain();
    let mut pushed = 0;
    while outbox.push(frame(&"x".repeat(1000))) != Pushed::Full {
        pushed += 1;
    }
    assert_eq!(pushed, MAX_WAITING_BYTES / (1000 + 7));
    assert!(outbox.closed().now_or_never().is_some() && outbox.gone().now_or_never().is_none());
    assert_eq!(drain.grace(), Some(CUT_GRACE));
    assert_eq!(payloads(&drain).await, ["too slow"]);
    drop(drain);
    assert!(outbox.gone_in_grace().await);
}

#[tokio::test(start_paused = true)]
async fn the_grace_ends() {
    let outbox = outbox();
    let _drain = outbox.drain();
    outbox.close();
    assert!(!outbox.gone_in_grace().await);
}

#[tokio::test]
async fn a_sender_waits_for_room_and_learns_of_the_end() {
    let outbox = outbox();
    let drain = outbox.drain();
    let large = frame(&"x".repeat(MAX_WAITING_BYTES));
    outbox.send(large.clone()).await.unwrap();
    let mut waiting = Box::pin(outbox.send(large));
    assert!(waiting.as_mut().now_or_never().is_none());
    assert!(poll_fn(|cx| drain.poll_payload(cx)).await.is_some());
    waiting.await.unwrap();

    let mut waiting = Box::pin(outbox.send(frame("more")));
    assert!(waiting.as_mut().now_or_never().is_none());
    drop(drain);
    assert_eq!(waiting.await, Err(Closed));
}

#[tokio::test]
async fn the_hubs_own_thread_writes_to_the_socket() {
    let (server, mut client) = connected().await;
    server.writable().await.unwrap();
    let outbox = outbox();
    let drain = outbox.drain();
    drain.attach(server);
    outbox.push(frame("one"));
    outbox.push(frame("two"));
    outbox.flush();
    assert_eq!(outbox.waiting_bytes(), 0);
    let mut both = [0; 16];
    client.read_exact(&mut both).await.unwrap();
    assert_eq!(&both, b"3\r\none\r\n3\r\ntwo\r\n");
}

#[tokio::test]
async fn a_turn_may_have_more_than_may_wait() {
    let (server, mut client) = connected().await;
    server.writable().await.unwrap();
    let outbox = outbox();
    let drain = outbox.drain();
    drain.attach(server);
    let mut turn = vec![0; 4 * MAX_WAITING_FRAMES * frame("event").chunk().len()];
    for _ in 0..4 * MAX_WAITING_FRAMES {
        assert_ne!(outbox.push(frame("event")), Pushed::Full);
    }
    outbox.flush();
    client.read_exact(&mut turn).await.unwrap();
}

#[tokio::test]
async fn a_full_socket_loses_and_doubles_nothing() {
    let (server, mut client) = connected().await;
    SockRef::from(&*server).set_send_buffer_size(4096).unwrap();
    let outbox = outbox();
    let drain = outbox.drain();
    drain.attach(server);
    let task = tokio::spawn(async move { poll_fn(|cx| drain.poll_write(cx)).await });
    let sender = tokio::spawn({
        let outbox = Arc::clone(&outbox);
        async move {
            for number in 0..50_000 {
                outbox.send(frame(&format!("{number:06}"))).await.unwrap();
            }
            outbox.close();
        }
    });
    let chunks = (0..50_000).map(|number| frame(&format!("{number:06}")).chunk());
    let expected = chunks.chain([Frame::end().chunk()]).collect::<Vec<_>>().concat();
    let mut received = vec![0; expected.len()];
    client.read_exact(&mut received).await.unwrap();
    assert!(received == expected);
    sender.await.unwrap();
    task.await.unwrap().unwrap();
}

/// Fails if `Drain`'s end passes over what was left to do, or if what comes later waits for it.
#[test]
fn what_is_left_to_do_is_done_when_the_network_lets_go() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let call = |number: u8| {
        let sender = sender.clone();
        move || sender.send(number).unwrap()
    };
    let outbox = outbox();
    let drain = outbox.drain();
    outbox.at_parting(call(1));
    outbox.close();
    assert_eq!(receiver.try_iter().count(), 0, "it is closed, but there is still somebody to tell");
    drop(drain);
    assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [1]);
    outbox.at_parting(call(2));
    assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [2], "too late to wait");
}

#[tokio::test]
async fn a_broken_socket_ends_the_stream() {
    let (server, client) = connected().await;
    server.writable().await.unwrap();
    client.set_zero_linger().unwrap();
    drop(client);
    let outbox = outbox();
    let drain = outbox.drain();
    server.readable().await.unwrap();
    drain.attach(server);
    while outbox.push(frame("one")) != Pushed::Closed {
        outbox.flush();
    }
    assert!(outbox.gone().now_or_never().is_some());
    assert!(drain.poll_write(&mut Context::from_waker(&noop_waker())).is_ready());
}
