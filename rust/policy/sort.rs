// SPDX-License-Identifier: GPL-2.0

//! Heapsort: in place, without recursion, and without a panic.
//!
//! The sorts of `core` panic where an order contradicts itself. Ours do not, but the compiler
//! cannot know, and a kernel module has no use for the panic.

/// Sorts from the least to the greatest. Equal items may change places.
pub fn sort<T: Ord>(items: &mut [T]) {
    let len = items.len();
    for root in (0..len / 2).rev() {
        sift_down(items, root);
    }
    for end in (1..len).rev() {
        // The greatest of those that are left goes behind them.
        exchange(items, 0, end);
        if let Some(rest) = items.get_mut(..end) {
            sift_down(rest, 0);
        }
    }
}

/// Lets an item sink until it is no less than both below it.
fn sift_down<T: Ord>(heap: &mut [T], mut root: usize) {
    loop {
        let left = root * 2 + 1;
        let right = left + 1;
        let child = if heap.get(right) > heap.get(left) {
            right
        } else {
            left
        };
        // Beyond the end there is `None`, which is less than any item.
        if heap.get(child) <= heap.get(root) {
            return;
        }
        exchange(heap, root, child);
        root = child;
    }
}

fn exchange<T>(items: &mut [T], a: usize, b: usize) {
    let (low, high) = (a.min(b), a.max(b));
    let Some((front, back)) = items.split_at_mut_checked(high) else {
        return;
    };
    if let (Some(low), Some(high)) = (front.get_mut(low), back.first_mut()) {
        core::mem::swap(low, high);
    }
}

#[cfg(test)]
mod tests {
    use super::sort;
    use std::vec::Vec;

    #[test]
    fn sorts_as_the_standard_library_does() {
        let mut seed = 1_u32;
        for len in 0..300 {
            let mut items: Vec<u32> = (0..len)
                .map(|_| {
                    seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    // Few values, so that many are equal.
                    seed >> 24
                })
                .collect();
            let mut expected = items.clone();
            expected.sort();
            sort(&mut items);
            assert_eq!(items, expected);
        }
    }
}
