//! TLS and users.

use std::path::PathBuf;

use convoke_core::{ClaimStore, Severity};
use convoke_redis::{Config, ErrorKind, Stores};
use convoke_testing::eventually;
use convoke_testing::servers::{Certificates, RedisBuilder, RedisServer};

use crate::support::{connect, works};

fn certificates() -> Certificates {
    Certificates::generate().expect("certificates can be made")
}

fn with_tls(certificates: &Certificates, verify: bool) -> RedisBuilder {
    let (certificate, key) = (certificates.server(), certificates.server_key());
    RedisServer::builder().tls(certificate, key, certificates.authority(), verify)
}

async fn refused(config: Config, kind: ErrorKind) -> String {
    let error = Stores::connect_with(config).await.expect_err("this is refused");
    assert_eq!(error.kind(), kind, "{error}");
    assert!(!error.to_string().contains("s3cret"), "{error}");
    error.to_string()
}

#[tokio::test]
async fn a_server_with_tls_is_used_when_its_authority_is_known() {
    let certificates = certificates();
    let test = "a_server_with_tls_is_used_when_its_authority_is_known";
    let Some(server) = with_tls(&certificates, false).start_or_skip(test).await else { return };
    let stores = connect(Config::new(server.url()).tls_ca(certificates.authority())).await;
    works(&stores, "tls").await;

    let text = refused(Config::new(server.url()), ErrorKind::Unauthorized).await;
    assert!(text.contains("certificate") && text.contains("tls_ca"), "{text}");
    let other = self::certificates();
    refused(Config::new(server.url()).tls_ca(other.authority()), ErrorKind::Unauthorized).await;
}

#[tokio::test]
async fn a_cluster_with_tls_is_used() {
    let certificates = certificates();
    let test = "a_cluster_with_tls_is_used";
    let server = with_tls(&certificates, false).cluster().option("tls-cluster", "yes");
    let Some(server) = server.start_or_skip(test).await else { return };
    let stores = connect(Config::new(server.url()).cluster().tls_ca(certificates.authority())).await;
    works(&stores, "tls").await;
}

#[tokio::test]
async fn a_server_that_wants_our_certificate_gets_it() {
    let certificates = certificates();
    let test = "a_server_that_wants_our_certificate_gets_it";
    let Some(server) = with_tls(&certificates, true).start_or_skip(test).await else { return };
    let config = Config::new(server.url()).tls_ca(certificates.authority());
    refused(config.clone(), ErrorKind::Unauthorized).await;
    let stores = connect(config.tls_client(certificates.client(), certificates.client_key())).await;
    works(&stores, "mtls").await;
}

#[tokio::test]
async fn a_file_that_is_no_certificate_ends_the_start() {
    let certificates = certificates();
    let key: PathBuf = certificates.client_key();
    let config = Config::new("rediss://127.0.0.1:1").tls_ca(certificates.authority());
    refused(config.tls_client(&key, certificates.authority()), ErrorKind::Invalid).await;
}

#[tokio::test]
async fn credentials_are_used_and_refused_ones_end_the_start() {
    let test = "credentials_are_used_and_refused_ones_end_the_start";
    let server = RedisServer::builder().acl_user("orders", "pw1");
    let Some(server) = server.start_or_skip(test).await else { return };
    works(&connect(Config::new(server.url_as("orders", "pw1"))).await, "user").await;
    for url in [server.url_as("orders", "s3cret"), server.url_as("nobody", "s3cret"), server.url()] {
        refused(Config::new(url), ErrorKind::Unauthorized).await;
    }

    let Some(server) = RedisServer::builder().password("pw1").start_or_skip(test).await else { return };
    let url = |password: &str| format!("redis://:{password}@127.0.0.1:{}", server.port());
    works(&connect(Config::new(url("pw1"))).await, "password").await;
    refused(Config::new(url("s3cret")), ErrorKind::Unauthorized).await;
    refused(Config::new(server.url()), ErrorKind::Unauthorized).await;
}

#[tokio::test]
async fn refused_credentials_of_a_cluster_end_the_start() {
    let test = "refused_credentials_of_a_cluster_end_the_start";
    let server = RedisServer::builder().cluster().acl_user("orders", "pw1");
    let Some(server) = server.start_or_skip(test).await else { return };
    works(&connect(Config::new(server.url_as("orders", "pw1")).cluster()).await, "user").await;
    refused(Config::new(server.url_as("orders", "s3cret")).cluster(), ErrorKind::Unauthorized).await;
}

#[tokio::test]
async fn the_documented_rights_are_enough_and_none_is_given_too_many() {
    let test = "the_documented_rights_are_enough_and_none_is_given_too_many";
    let Some(server) = RedisServer::builder().append_only().start_or_skip(test).await else { return };
    let rights = "~convoke:* &convoke:* +@read +@write +@scripting +@connection +publish +subscribe +info +time \
                  +config|get";
    let made = server.ask(&format!("ACL SETUSER small on >pw {rights}")).await.expect("it can be asked");
    assert!(made.starts_with("+OK"), "{made}");
    let stores = connect(Config::new(server.url_as("small", "pw"))).await;
    works(&stores, "small").await;
    let findings = stores.check().await.expect("it can be asked");
    assert!(findings.iter().all(|finding| finding.severity == Severity::Fine), "{findings:?}");
    let seen = findings.iter().any(|finding| finding.found.contains("appendfsync is everysec"));
    assert!(seen, "{findings:?}");
    let denied = server.ask("ACL LOG").await.expect("it can be asked");
    assert!(!denied.contains("small"), "{denied}");
}

#[tokio::test]
async fn a_user_without_channels_and_info_loses_promptness_and_the_check_only() {
    let test = "a_user_without_channels_and_info_loses_promptness_and_the_check_only";
    let Some(server) = RedisServer::start_or_skip(test).await else { return };
    let rights = "~convoke:* +@read +@write +@scripting +@connection +publish +subscribe +time";
    let made = server.ask(&format!("ACL SETUSER small on >pw {rights}")).await.expect("it can be asked");
    assert!(made.starts_with("+OK"), "{made}");
    let stores = connect(Config::new(server.url_as("small", "pw"))).await;
    works(&stores, "small").await;
    let findings = stores.check().await.expect("it can be asked");
    assert!(findings.len() == 1 && findings[0].to_string().contains("INFO"), "{findings:?}");
    crate::waiting::a_waiter_finds_out(&stores, &stores).await;
}

#[tokio::test]
async fn a_user_who_was_removed_and_made_again_is_let_in_again() {
    let test = "a_user_who_was_removed_and_made_again_is_let_in_again";
    let Some(server) = RedisServer::start_or_skip(test).await else { return };
    let make = "ACL SETUSER ops on >pw ~* &* +@all";
    server.ask(make).await.expect("it can be asked");
    let stores = connect(Config::new(server.url_as("ops", "pw"))).await;
    works(&stores, "before").await;
    server.ask("ACL DELUSER ops").await.expect("it can be asked");
    eventually("the user is refused", async || stores.ping().await.is_err()).await;
    let error = eventually("the refusal is told", async || {
        stores
            .ping()
            .await
            .err()
            .filter(|error| error.to_string().contains("WRONGPASS"))
            .ok_or("another error")
    })
    .await;
    assert_eq!(error.kind(), convoke_core::StoreErrorKind::Refused);
    server.ask(make).await.expect("it can be asked");
    eventually("the user is let in", || stores.ping()).await;
    works(&stores, "after").await;
}
