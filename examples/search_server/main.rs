//! The smallest honest search server that links this crate: axum in front, tantivy on disk behind, rollup jobs inside.
//! ```text
//! cargo run --example search_server --all-features -- --listen 127.0.0.1:9200 --data /tmp/search
//! ```

mod answer;
mod documents;
mod indices;
mod query;
mod rolled_up;
mod routes;
mod sample;
mod search;
mod users;

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::middleware;
use clap::Parser;
use rollup_jobs::RollupJobManager;
use rollup_jobs::engine::tantivy::TantivyEngine;
use rollup_jobs::rest::{self, AllowAll, Authorizer, RouterOptions};
use rollup_jobs::store::RedbStore;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// A small search server with rollup jobs.
#[derive(Parser)]
struct Flags {
    /// The address to listen on; port 0 picks a free one.
    #[arg(long, default_value = "127.0.0.1:9200")]
    listen: SocketAddr,
    /// The folder for indices and jobs, created if need be.
    #[arg(long, default_value = "search-data")]
    data: PathBuf,
    /// Who may do what: lines of name:password:privilege,privilege. Without it everyone may do everything.
    #[arg(long)]
    users: Option<PathBuf>,
    /// Adds something to try: an index of readings, and a job that rolls them up.
    #[arg(long)]
    sample: bool,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let flags = Flags::parse();
    let users = flags.users.as_deref().map(users::Users::read).transpose()?;
    let engine = TantivyEngine::open(flags.data.join("rollups"))?;
    // The source indices have to be there before jobs that were started go on.
    let indices = Arc::new(indices::Indices::open(&flags.data, engine.clone()).map_err(|problem| problem.reason)?);
    let store = RedbStore::open(flags.data.join("jobs.redb"))?;
    let manager = Arc::new(RollupJobManager::builder(Arc::new(engine), Arc::new(store)).open()?);

    if flags.sample {
        tokio::task::block_in_place(|| sample::add(&indices, &manager))?;
    }

    let listener = TcpListener::bind(flags.listen).await?;
    let address = format!("http://{}", listener.local_addr()?);
    let authorizer: Arc<dyn Authorizer> = match &users {
        Some(users) => Arc::new(users.authorizer.clone()),
        None => Arc::new(AllowAll),
    };
    let options = RouterOptions::new().openapi(true);
    let mut app = routes::router(indices, Arc::clone(&manager)).merge(rest::router_with(
        Arc::clone(&manager),
        authorizer,
        options,
    ));
    match users {
        Some(users) => app = app.layer(middleware::from_fn_with_state(Arc::new(users), users::authenticate)),
        None => eprintln!("warning: without --users everyone who can reach {address} may do everything"),
    }
    let terminate = signal(SignalKind::terminate())?;
    greet(&address, flags.sample);
    axum::serve(listener, app).with_graceful_shutdown(told_to_end(manager, terminate)).await?;
    Ok(())
}

/// Waits for SIGTERM or Ctrl-C, and then for the jobs: each stops at a point that the next start resumes from.
async fn told_to_end(manager: Arc<RollupJobManager>, mut terminate: Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    println!("shutting down");
    match tokio::task::block_in_place(|| manager.shutdown(Duration::from_secs(30))) {
        Ok(()) => println!("all jobs are at rest"),
        Err(error) => eprintln!("{error}"),
    }
}

fn greet(address: &str, has_sample: bool) {
    let json = "-H 'Content-Type: application/json'";
    let mappings = r#"{"mappings":{"properties":{"timestamp":{"type":"date"},"t":{"type":"double"}}}}"#;
    println!("listening on {address}");
    if has_sample {
        println!("  curl '{address}/sensor_hourly/_search?pretty'");
        println!("  curl -X POST '{address}/_rollup/job/sensor/_stop?wait_for_completion=true&timeout=10s'");
        return;
    }
    println!("  curl -X PUT {address}/sensor-1 {json} -d '{mappings}'");
    println!("  curl {address}/sensor-1/_doc {json} -d '{{\"timestamp\":\"2026-01-01T00:00:00Z\",\"t\":20.5}}'");
    println!("  curl '{address}/_rollup/job?pretty'");
}
