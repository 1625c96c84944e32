//! A table from ascending numbers to things, in pages: a lookup is two steps, a page whose things are all gone
//! is freed, and numbers are never given twice.

use std::collections::VecDeque;

const PAGE: usize = 256;
/// Pages between two things, at most: 32 MB of places.
const MAX_GAP: usize = 1 << 22;

#[derive(Debug)]
struct Page<T> {
    slots: Vec<Option<T>>,
    live: usize,
}

#[derive(Debug)]
pub(super) struct Table<T> {
    /// Pages from number `base * PAGE` on.
    pages: VecDeque<Option<Box<Page<T>>>>,
    base: usize,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Table { pages: VecDeque::new(), base: 0 }
    }
}

fn place(id: u64) -> Option<(usize, usize)> {
    let id = usize::try_from(id).ok()?;
    Some((id / PAGE, id % PAGE))
}

impl<T> Table<T> {
    pub(super) fn get(&self, id: u64) -> Option<&T> {
        let (page, slot) = place(id)?;
        self.pages.get(page.checked_sub(self.base)?)?.as_ref()?.slots[slot].as_ref()
    }

    pub(super) fn get_mut(&mut self, id: u64) -> Option<&mut T> {
        let (page, slot) = place(id)?;
        self.pages.get_mut(page.checked_sub(self.base)?)?.as_mut()?.slots[slot].as_mut()
    }

    /// Puts `thing` at `id`. Numbers far from all others cost eight bytes for each 256 between.
    pub(super) fn insert(&mut self, id: u64, thing: T) {
        let Some((page, slot)) = place(id) else { return };
        if self.pages.is_empty() {
            self.base = page;
        }
        // Numbers so far from all others come from no log of ours.
        if page.abs_diff(self.base) > MAX_GAP {
            return;
        }
        while page < self.base {
            self.pages.push_front(None);
            self.base -= 1;
        }
        let index = page - self.base;
        if index >= self.pages.len() {
            self.pages.resize_with(index + 1, || None);
        }
        let page = self.pages[index]
            .get_or_insert_with(|| Box::new(Page { slots: (0..PAGE).map(|_| None).collect(), live: 0 }));
        page.live += usize::from(page.slots[slot].replace(thing).is_none());
    }

    pub(super) fn remove(&mut self, id: u64) -> Option<T> {
        let (page, slot) = place(id)?;
        let index = page.checked_sub(self.base)?;
        let entry = self.pages.get_mut(index)?;
        let page = entry.as_mut()?;
        let thing = page.slots[slot].take()?;
        page.live -= 1;
        if page.live == 0 {
            *entry = None;
            while let Some(None) = self.pages.front() {
                self.pages.pop_front();
                self.base += 1;
            }
        }
        Some(thing)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &T)> {
        self.pages.iter().enumerate().flat_map(move |(p, page)| {
            let first = (self.base + p) * PAGE;
            let slots = page.iter().flat_map(|page| page.slots.iter().enumerate());
            slots.filter_map(move |(i, t)| Some(((first + i) as u64, t.as_ref()?)))
        })
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (u64, &mut T)> {
        let base = self.base;
        self.pages.iter_mut().enumerate().flat_map(move |(p, page)| {
            let first = (base + p) * PAGE;
            let slots = page.iter_mut().flat_map(|page| page.slots.iter_mut().enumerate());
            slots.filter_map(move |(i, t)| Some(((first + i) as u64, t.as_mut()?)))
        })
    }
}
