//! For authors of engines, stores and hosts: conformance suites, engines that misbehave on command, and a clock that
//! stands still.
//!
//! Feature `testing`, for dev-dependencies. Nothing here uses more than the crate's public face.

mod clock;
mod counting;
mod engine_suite;
mod fault_plan;
mod faulty;
mod faulty_store;
mod gated;
mod harness;
mod store_suite;

pub use clock::ManualClock;
pub use counting::{CountingEngine, EngineCalls};
pub use engine_suite::check_engine;
pub use faulty::{EngineFault, FaultyEngine};
pub use faulty_store::{FaultyStore, StoreCall, StoreFault};
pub use gated::{Gate, GatedEngine};
pub use harness::{EngineHarness, MemoryHarness, documents_of};
pub use store_suite::check_store;
