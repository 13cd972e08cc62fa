//! The in-memory tables keep the backend's contract, and the machine over them agrees with the model.

use mvcc::{
    Memory,
    contract::{self, Lab},
};

fn crash(memory: Memory) -> Memory {
    memory.crash();
    memory
}

#[test]
fn memory_keeps_the_contract() {
    contract::suite(&Lab {
        fresh: &Memory::new,
        crash: &crash,
    });
}

#[test]
fn random_requests_agree_with_the_model() {
    let lab = Lab {
        fresh: &Memory::new,
        crash: &crash,
    };
    for seed in 100..140 {
        contract::agrees_with_the_model(&lab, seed, 500);
    }
}
