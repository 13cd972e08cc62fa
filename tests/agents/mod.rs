//! Scheduler and controllers against the real API server, in one process and without sockets or containers: a pretended
//! kubelet runs every Pod at once. What real containers add is tried elsewhere; here it is the agents' cooperation.

mod collecting;
mod leading;
mod rolling;
mod scheduling;
mod world;
