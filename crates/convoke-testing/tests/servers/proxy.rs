use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use convoke_testing::eventually;
use convoke_testing::proxy::TcpProxy;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(5);
/// Long enough for loopback to deliver what is not held back.
const A_WHILE: Duration = Duration::from_millis(200);

/// Echoes every byte, and tells what arrived.
async fn echo() -> (SocketAddr, mpsc::UnboundedReceiver<u8>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port is free");
    let address = listener.local_addr().expect("it listens");
    let (seen, arrived) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let seen = seen.clone();
            tokio::spawn(async move {
                while let Ok(byte) = stream.read_u8().await {
                    let _ = seen.send(byte);
                    if stream.write_u8(byte).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    (address, arrived)
}

async fn proxied() -> (TcpProxy, mpsc::UnboundedReceiver<u8>, TcpStream) {
    let (server, arrived) = echo().await;
    let proxy = TcpProxy::start(server).await.expect("a port is free");
    let client = connect(&proxy).await;
    (proxy, arrived, client)
}

async fn connect(proxy: &TcpProxy) -> TcpStream {
    TcpStream::connect(proxy.address()).await.expect("the proxy always accepts")
}

async fn says(client: &mut TcpStream, byte: u8) {
    client.write_u8(byte).await.expect("the connection is open");
}

async fn hears(client: &mut TcpStream) -> Option<u8> {
    timeout(SOON, client.read_u8()).await.expect("an answer or an end comes soon").ok()
}

async fn hears_nothing(client: &mut TcpStream) {
    assert!(timeout(A_WHILE, client.read_u8()).await.is_err(), "neither an answer nor an end");
}

#[tokio::test]
async fn bytes_pass_both_ways_and_an_end_passes_too() {
    let (proxy, mut arrived, mut client) = proxied().await;
    says(&mut client, 1).await;
    assert_eq!(hears(&mut client).await, Some(1));
    assert_eq!(arrived.recv().await, Some(1));
    client.shutdown().await.expect("the connection is open");
    assert_eq!(hears(&mut client).await, None, "the server saw the end and closed");
    assert_eq!(proxy.connections(), 1);
}

#[tokio::test]
async fn a_black_hole_keeps_connections_open_and_silent_until_it_heals() {
    let (proxy, mut arrived, mut client) = proxied().await;
    says(&mut client, 1).await;
    assert_eq!(hears(&mut client).await, Some(1));
    arrived.recv().await;

    proxy.blackhole();
    let mut late = connect(&proxy).await;
    says(&mut client, 2).await;
    says(&mut late, 3).await;
    hears_nothing(&mut client).await;
    hears_nothing(&mut late).await;
    assert!(arrived.try_recv().is_err(), "nothing reached the server");

    proxy.heal();
    assert_eq!(hears(&mut client).await, Some(2));
    assert_eq!(hears(&mut late).await, Some(3));
    assert_eq!(proxy.connections(), 2);
}

#[tokio::test]
async fn dropped_replies_reach_the_server_and_not_the_client() {
    let (proxy, mut arrived, mut client) = proxied().await;
    let mut idle = connect(&proxy).await;
    proxy.drop_replies();
    says(&mut client, 1).await;
    assert_eq!(timeout(SOON, arrived.recv()).await.expect("it arrives soon"), Some(1));
    hears_nothing(&mut client).await;

    proxy.heal();
    assert_eq!(hears(&mut client).await, None, "a stream with a hole in it is closed");
    says(&mut idle, 2).await;
    assert_eq!(hears(&mut idle).await, Some(2), "a stream that lost nothing goes on");
}

#[tokio::test]
async fn a_cut_closes_what_is_open_and_serves_what_comes() {
    let (proxy, _arrived, mut client) = proxied().await;
    says(&mut client, 1).await;
    assert_eq!(hears(&mut client).await, Some(1));
    proxy.cut();
    assert_eq!(hears(&mut client).await, None);
    let mut client = connect(&proxy).await;
    says(&mut client, 2).await;
    assert_eq!(hears(&mut client).await, Some(2));
}

#[tokio::test]
async fn stranded_connections_stay_silent_while_new_ones_are_served() {
    let (proxy, mut arrived, mut client) = proxied().await;
    says(&mut client, 1).await;
    assert_eq!(hears(&mut client).await, Some(1));
    arrived.recv().await;
    proxy.strand();
    proxy.heal();
    says(&mut client, 2).await;
    hears_nothing(&mut client).await;
    assert!(arrived.try_recv().is_err(), "nothing reached the server");
    let mut client = connect(&proxy).await;
    says(&mut client, 3).await;
    assert_eq!(hears(&mut client).await, Some(3));
}

#[tokio::test]
async fn a_cut_also_ends_what_lies_in_a_black_hole() {
    let (proxy, _arrived, mut client) = proxied().await;
    proxy.blackhole();
    let mut late = connect(&proxy).await;
    eventually("both are accepted", || async { proxy.connections() == 2 }).await;
    hears_nothing(&mut late).await;
    proxy.cut();
    assert_eq!(hears(&mut client).await, None);
    assert_eq!(hears(&mut late).await, None);
}

#[tokio::test]
async fn refused_connections_end_until_it_heals() {
    let (proxy, _arrived, mut client) = proxied().await;
    proxy.refuse();
    assert_eq!(hears(&mut client).await, None);
    assert_eq!(hears(&mut connect(&proxy).await).await, None);
    proxy.heal();
    let mut client = connect(&proxy).await;
    says(&mut client, 1).await;
    assert_eq!(hears(&mut client).await, Some(1));
}

#[tokio::test]
async fn a_dropped_proxy_closes_its_connections() {
    let (proxy, _arrived, mut client) = proxied().await;
    says(&mut client, 1).await;
    assert_eq!(hears(&mut client).await, Some(1));
    drop(proxy);
    assert_eq!(hears(&mut client).await, None);
}
