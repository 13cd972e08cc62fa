//! What the runtime holds, read once a second.
//!
//! **Theory.** Two list calls give every sandbox and container with its state. Only what changed state is asked for its
//! details, so an idle node costs two small calls a second, and a missed event cannot exist.
//!
//! **Promises.** A pod's view is replaced whole. Whoever changes a pod calls [`Relist::refresh`] and sees the effect
//! of its own calls: a full list that was begun before that is never stored over it, or a worker could start a container
//! that it has just started. A pod whose view changed is reported once per change.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use k8s_cri::v1;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::cri::{Runtime, annotation};
use crate::pod::view::{ContainerState, ContainerView, PodId, PodView, SandboxView, owner};
use crate::{Error, limits, log};

/// The cache of everything the runtime holds.
pub struct Relist {
    runtime: Arc<dyn Runtime>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    pods: HashMap<String, (PodId, Arc<PodView>)>,
    /// Details by container id, valid for the list state they were read in.
    details: HashMap<String, (i32, ContainerView)>,
    /// Addresses by sandbox id. They never change while a sandbox is ready.
    addresses: HashMap<String, Vec<String>>,
    read_at: Option<Instant>,
    /// Counts reads of single pods.
    clock: u64,
    /// When, by `clock`, each pod was last read by itself.
    touched: HashMap<String, u64>,
}

impl State {
    fn touch(&mut self, uid: &str) {
        self.clock += 1;
        self.touched.insert(uid.to_owned(), self.clock);
    }

    /// Stores a full list that was begun at `begun`, except for pods that were read since. Returns who changed.
    fn store(&mut self, views: HashMap<String, (PodId, PodView)>, begun: u64) -> Vec<String> {
        self.read_at = Some(Instant::now());
        let mut new: HashMap<String, (PodId, Arc<PodView>)> = views
            .into_iter()
            .map(|(uid, (id, view))| (uid, (id, Arc::new(view))))
            .collect();
        for uid in self.touched.iter().filter(|(_, at)| **at > begun).map(|(uid, _)| uid) {
            match self.pods.get(uid) {
                Some(newer) => new.insert(uid.clone(), newer.clone()),
                None => new.remove(uid),
            };
        }
        self.touched.retain(|_, at| *at > begun);
        let gone = self.pods.keys().filter(|uid| !new.contains_key(*uid));
        let other = new
            .iter()
            .filter(|(uid, (_, view))| self.pods.get(*uid).is_none_or(|(_, old)| old != view));
        let changed = gone.chain(other.map(|(uid, _)| uid)).cloned().collect();
        self.pods = new;
        changed
    }
}

impl Relist {
    /// Nothing read yet.
    pub fn new(runtime: Arc<dyn Runtime>) -> Self {
        Relist {
            runtime,
            state: Mutex::default(),
        }
    }

    /// The last view of a pod; empty if the runtime has nothing of it.
    pub fn view(&self, uid: &str) -> Arc<PodView> {
        self.state
            .lock()
            .pods
            .get(uid)
            .map(|(_, view)| view.clone())
            .unwrap_or_default()
    }

    /// Every pod that the runtime has something of.
    pub fn pods(&self) -> Vec<PodId> {
        self.state.lock().pods.values().map(|(id, _)| id.clone()).collect()
    }

    /// Whether the runtime was read lately.
    pub fn is_current(&self) -> bool {
        self.state
            .lock()
            .read_at
            .is_some_and(|at| at.elapsed() < limits::RELIST_AGE_MAX)
    }

    /// Reads everything; returns the uids of the pods whose view changed.
    pub async fn refresh_all(&self) -> Result<Vec<String>, Error> {
        let begun = self.state.lock().clock;
        let sandboxes = self.runtime.list_pod_sandbox(None).await?;
        let containers = self.runtime.list_containers(None).await?;
        self.forget_gone(&sandboxes, &containers);
        let views = self.views(sandboxes, containers).await?;
        Ok(self.state.lock().store(views, begun))
    }

    /// Reads one pod.
    pub async fn refresh(&self, uid: &str) -> Result<Arc<PodView>, Error> {
        let sandboxes = self.runtime.list_pod_sandbox(Some(uid)).await?;
        let containers = self.runtime.list_containers(Some(uid)).await?;
        let mut views = self.views(sandboxes, containers).await?;
        let mut state = self.state.lock();
        state.touch(uid);
        match views.remove(uid) {
            Some((id, view)) => {
                let view = Arc::new(view);
                state.pods.insert(uid.to_owned(), (id, view.clone()));
                Ok(view)
            }
            None => {
                state.pods.remove(uid);
                Ok(Arc::default())
            }
        }
    }

    fn forget_gone(&self, sandboxes: &[v1::PodSandbox], containers: &[v1::Container]) {
        let alive: HashSet<&str> = sandboxes
            .iter()
            .map(|s| s.id.as_str())
            .chain(containers.iter().map(|c| c.id.as_str()))
            .collect();
        let mut state = self.state.lock();
        state.details.retain(|id, _| alive.contains(id.as_str()));
        state.addresses.retain(|id, _| alive.contains(id.as_str()));
    }

    async fn views(
        &self,
        sandboxes: Vec<v1::PodSandbox>,
        containers: Vec<v1::Container>,
    ) -> Result<HashMap<String, (PodId, PodView)>, Error> {
        let mut views: HashMap<String, (PodId, PodView)> = HashMap::new();
        for item in &sandboxes {
            let Some(id) = owner(&item.labels) else { continue };
            let ips = self.addresses(item).await?;
            let view = views.entry(id.uid.clone()).or_insert_with(|| (id, PodView::default()));
            view.1.sandboxes.push(SandboxView::of(item, ips));
        }
        for item in &containers {
            let Some(id) = owner(&item.labels) else { continue };
            let Some(details) = self.details(item).await? else {
                continue;
            };
            let view = views.entry(id.uid.clone()).or_insert_with(|| (id, PodView::default()));
            view.1.containers.push(details);
        }
        views.values_mut().for_each(|(_, view)| view.sort());
        Ok(views)
    }

    async fn addresses(&self, item: &v1::PodSandbox) -> Result<Vec<String>, Error> {
        if item.state != v1::PodSandboxState::SandboxReady as i32 {
            return Ok(vec![]);
        }
        if let Some(known) = self.state.lock().addresses.get(&item.id) {
            return Ok(known.clone());
        }
        let status = match self.runtime.pod_sandbox_status(&item.id).await {
            Ok(status) => status,
            Err(error) if error.is_runtime_not_found() => return Ok(vec![]),
            Err(error) => return Err(error),
        };
        let network = status.network.unwrap_or_default();
        let all = std::iter::once(network.ip).chain(network.additional_ips.into_iter().map(|i| i.ip));
        let ips: Vec<String> = all.filter(|ip| !ip.is_empty()).collect();
        self.state.lock().addresses.insert(item.id.clone(), ips.clone());
        Ok(ips)
    }

    async fn details(&self, item: &v1::Container) -> Result<Option<ContainerView>, Error> {
        if let Some((state, view)) = self.state.lock().details.get(&item.id)
            && *state == item.state
        {
            return Ok(Some(view.clone()));
        }
        let status = match self.runtime.container_status(&item.id).await {
            Ok(status) => status,
            Err(error) if error.is_runtime_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut view = ContainerView::of(item, &status);
        if view.state == ContainerState::Exited {
            let policy = status
                .annotations
                .get(annotation::TERMINATION_MESSAGE_POLICY)
                .map(String::as_str);
            let file = termination_file(&status);
            if let Some(words) = log::last_words(file.as_deref(), policy, view.exit_code, &view.log_path) {
                view.message = words;
            }
        }
        self.state
            .lock()
            .details
            .insert(item.id.clone(), (status.state, view.clone()));
        Ok(Some(view))
    }
}

/// The file on this node that is mounted where the container leaves its last words.
fn termination_file(status: &v1::ContainerStatus) -> Option<String> {
    let path = status.annotations.get(annotation::TERMINATION_MESSAGE_PATH)?;
    status
        .mounts
        .iter()
        .find(|m| &m.container_path == path)
        .map(|m| m.host_path.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cri::fake::Fake;
    use crate::cri::label;

    fn labels() -> HashMap<String, String> {
        let pairs = [
            (label::POD_UID, "u"),
            (label::POD_NAME, "p"),
            (label::POD_NAMESPACE, "n"),
        ];
        let pairs = pairs.into_iter().chain([(label::CONTAINER_NAME, "c")]);
        pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
    }

    #[tokio::test]
    async fn a_change_is_reported_once() {
        let fake = Arc::new(Fake::default());
        let relist = Relist::new(fake.clone());
        let sandbox = v1::PodSandboxConfig {
            labels: labels(),
            ..Default::default()
        };
        let pod = fake.run_pod_sandbox(sandbox.clone(), "").await.unwrap();
        let config = v1::ContainerConfig {
            labels: labels(),
            ..Default::default()
        };
        let id = fake.create_container(&pod, config, sandbox).await.unwrap();
        fake.start_container(&id).await.unwrap();
        assert_eq!(relist.refresh_all().await.unwrap(), ["u"]);
        assert!(relist.refresh_all().await.unwrap().is_empty());
        assert_eq!(relist.view("u").latest("c").unwrap().state, ContainerState::Running);
        fake.exit(&id, 3);
        assert_eq!(relist.refresh_all().await.unwrap(), ["u"]);
        assert_eq!(relist.view("u").latest("c").unwrap().exit_code, 3);
        fake.remove_pod_sandbox(&pod).await.unwrap();
        assert_eq!(relist.refresh_all().await.unwrap(), ["u"]);
        assert!(relist.pods().is_empty());
    }

    #[test]
    fn a_full_list_does_not_hide_what_was_read_after_it_began() {
        let id = |uid: &str| PodId {
            namespace: "n".into(),
            name: "p".into(),
            uid: uid.into(),
        };
        let sandbox = SandboxView {
            id: "new".into(),
            ready: true,
            attempt: 1,
            created_at: 1,
            ips: vec![],
        };
        let new = PodView {
            sandboxes: vec![sandbox],
            containers: vec![],
        };
        let mut state = State::default();
        let begun = state.clock;
        state.pods.insert("a".into(), (id("a"), Arc::new(new.clone())));
        state.touch("a");
        state.touch("removed");
        let old = |uid: &str| (uid.to_owned(), (id(uid), PodView::default()));
        let changed = state.store([old("a"), old("removed"), old("other")].into(), begun);
        assert_eq!(changed, ["other"]);
        assert_eq!(*state.pods["a"].1, new);
        assert!(!state.pods.contains_key("removed"));
        // A list that begins now has seen everything.
        let begun = state.clock;
        assert_eq!(state.store([old("a"), old("other")].into(), begun), ["a"]);
    }
}
