//! Which node is asked next: one that did not answer is left out, for longer and longer.

use std::time::Duration;

/// How long a node is left out after it did not answer once, and at most.
const MIN_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_mins(1);

/// What is known of the nodes.
pub(super) struct Nodes {
    nodes: Vec<Node>,
    /// The one that was asked last.
    last: usize,
}

#[derive(Clone, Copy, Default)]
struct Node {
    /// How often it did not answer, since it last did.
    silences: u32,
    /// When it was found not to answer, and when it may be asked again.
    since: Duration,
    again: Duration,
}

impl Nodes {
    pub(super) fn new(count: usize) -> Self {
        Self { nodes: vec![Node::default(); count], last: count.saturating_sub(1) }
    }

    /// The next node in turn among those that have not been `tried` for a request: one that answers, as far as is
    /// known, or else the one that has been left out longest.
    pub(super) fn next(&mut self, tried: &[usize], now: Duration) -> Option<usize> {
        let count = self.nodes.len();
        let in_turn = (1..=count).map(|step| (self.last + step) % count).filter(|node| !tried.contains(node));
        let waits_until = |node: usize| self.nodes[node].again.max(now);
        let next = in_turn.min_by_key(|node| waits_until(*node))?;
        self.last = next;
        Some(next)
    }

    pub(super) fn answered(&mut self, node: usize) {
        self.nodes[node] = Node::default();
    }

    /// It did not answer to what it was asked at `asked`. Several requests that break off together are one silence.
    pub(super) fn was_silent(&mut self, node: usize, asked: Duration, now: Duration) {
        let Node { silences, since, again } = &mut self.nodes[node];
        if *silences > 0 && asked < *since {
            return;
        }
        let pause = MIN_PAUSE.saturating_mul(2_u32.saturating_pow(*silences)).min(MAX_PAUSE);
        *silences += 1;
        (*since, *again) = (now, now.saturating_add(pause));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn nodes_take_turns() {
        let mut nodes = Nodes::new(3);
        let asked: Vec<_> = (0..4).map(|_| nodes.next(&[], SECOND)).collect();
        assert_eq!(asked, [Some(0), Some(1), Some(2), Some(0)]);
        assert_eq!(nodes.next(&[0, 1, 2], SECOND), None);
    }

    #[test]
    fn a_silent_node_is_left_out_for_longer_and_longer() {
        let mut nodes = Nodes::new(2);
        let mut now = SECOND;
        for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
            nodes.was_silent(0, now, now);
            let almost = now + Duration::from_millis(u64::from(pause) * 1_000 - 1);
            assert_eq!((nodes.next(&[], almost), nodes.next(&[], almost)), (Some(1), Some(1)), "{pause}");
            // One that was asked before, and breaks off now.
            nodes.was_silent(0, now.saturating_sub(SECOND), almost);
            now += SECOND * pause;
            assert_eq!(nodes.next(&[], now), Some(0), "{pause}");
        }
        nodes.answered(0);
        nodes.was_silent(0, now, now);
        assert_eq!(nodes.next(&[1], now), Some(0), "the only one left is asked anyway");
        nodes.was_silent(1, now + SECOND, now + SECOND);
        assert_eq!(nodes.next(&[], now), Some(0), "of two, the one that was left out longer");
    }
}
