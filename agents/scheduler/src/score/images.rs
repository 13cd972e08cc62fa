//! ImageLocality: prefers a node that holds the Pod's images, unless they are small. An image that few nodes hold counts
//! less, or every Pod that uses it would land there.

use super::MAX;
use crate::cache::{NodeInfo, PodInfo};

/// Below this many bytes an image is as good as fetched.
const BYTES_MIN: i64 = 23 << 20;
/// From this many bytes a container its image counts fully.
const BYTES_MAX_PER_CONTAINER: i64 = 1000 << 20;

pub(super) fn score(pod: &PodInfo, candidates: &[&NodeInfo], nodes_total: usize) -> Vec<i64> {
    let spec = &pod.pod.spec;
    let images: Vec<String> = spec
        .containers
        .iter()
        .chain(&spec.init_containers)
        .map(|c| full_name(&c.image))
        .collect();
    let holders: Vec<usize> = images
        .iter()
        .map(|i| candidates.iter().filter(|n| n.images.contains_key(i)).count())
        .collect();
    let top = BYTES_MAX_PER_CONTAINER * images.len().max(1) as i64;
    let one = |info: &&NodeInfo| {
        let held = images
            .iter()
            .zip(&holders)
            .filter_map(|(image, holders)| Some(info.images.get(image)? * *holders as i64 / nodes_total.max(1) as i64));
        let bytes = held.sum::<i64>().clamp(BYTES_MIN, top);
        MAX * (bytes - BYTES_MIN) / (top - BYTES_MIN)
    };
    candidates.iter().map(one).collect()
}

/// An image name with its tag, as nodes report it.
fn full_name(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    if last.contains(':') || image.contains('@') {
        image.to_owned()
    } else {
        format!("{image}:latest")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::ClusterCache;
    use crate::testing;
    use std::sync::Arc;

    #[test]
    fn a_node_with_a_large_image_is_better() {
        let mut cache = ClusterCache::default();
        let mut holder = testing::node("a", "4");
        holder.status.images =
            serde_json::from_str(r#"[{"names":["r:5000/x:latest"],"sizeBytes":900000000}]"#).unwrap();
        cache.set_node(Arc::new(holder));
        cache.set_node(Arc::new(testing::node("b", "4")));
        let mut pod = testing::pod("p", "1");
        pod.spec.containers[0].image = "r:5000/x".to_owned();
        let candidates: Vec<_> = cache.nodes().map(|(_, n)| n).collect();
        let scores = score(&PodInfo::new(Arc::new(pod)), &candidates, 2);
        assert!(scores[0] > 30 && scores[1] == 0, "{scores:?}");
    }
}
