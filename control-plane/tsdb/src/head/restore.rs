//! Putting back what the log and the snapshot hold.

use super::{ALONE, Head, Matrix, group::Group};
use crate::{chunk::Chunk, row::Written};
use std::sync::Arc;

/// Groups that damage may have taken between two others.
const MAX_GROUP_GAP: usize = 1 << 16;

impl Head {
    /// Puts a chunk back that a checkpoint kept.
    pub(crate) fn restore(&mut self, id: u64, chunk: Chunk) -> bool {
        let Some(series) = self.table.get_mut(id) else { return false };
        if chunk.max < self.min_valid {
            return true;
        }
        series.last = series.last.max(chunk.max);
        self.min_time = self.min_time.min(chunk.min);
        self.max_time = self.max_time.max(chunk.max);
        series.own_mut().sealed.push(Arc::new(chunk));
        true
    }

    /// Takes back a row of the log. `false` when it does not follow what is there.
    pub(crate) fn restore_row(&mut self, number: u32, added: Vec<u64>, written: &Written) -> bool {
        let at = written.at;
        if written.place == 0 {
            self.restore_group(number, added);
        } else {
            for id in added {
                let Some(group) = self.group(number) else { return false };
                let column = u32::try_from(group.ids.len()).unwrap_or(0);
                self.restore_column(number, column, id);
            }
        }
        if !self.group_mut(number).is_some_and(|g| g.restore(written)) {
            return false;
        }
        self.min_time = self.min_time.min(at);
        self.max_time = self.max_time.max(at);
        true
    }

    /// Makes a group of exactly these columns, unless it is there.
    fn restore_group(&mut self, number: u32, ids: Vec<u64>) {
        if self.group(number).is_some_and(|g| g.ids == ids) {
            return;
        }
        self.dissolve(number);
        let place = number as usize;
        // A group takes the first free number, so none is far from the others.
        if place > self.groups.len() + MAX_GROUP_GAP {
            return;
        }
        if place >= self.groups.len() {
            self.groups.resize_with(place + 1, || None);
        }
        self.groups[place] = Some(Group::new(Vec::new()));
        for (column, id) in ids.into_iter().enumerate() {
            self.restore_column(number, u32::try_from(column).unwrap_or(0), id);
        }
    }

    fn restore_column(&mut self, number: u32, column: u32, id: u64) {
        if self.table.get(id).is_some_and(|s| s.group != ALONE && s.group != number) {
            self.leave(id);
        }
        match self.table.get(id) {
            Some(series) if series.group == ALONE => self.join(number, column, id),
            // Nobody has this column any more.
            _ => {
                if let Some(group) = self.group_mut(number) {
                    group.ids.push(0);
                }
            }
        }
    }

    /// Takes back sealed columns of a group from a checkpoint.
    pub(crate) fn restore_sealed(&mut self, number: u32, ids: Vec<u64>, matrices: Vec<Matrix>) {
        self.restore_group(number, ids);
        for matrix in matrices {
            let (min, max) = matrix.range();
            self.min_time = self.min_time.min(min);
            self.max_time = self.max_time.max(max);
            if let Some(group) = self.group_mut(number) {
                group.restore_sealed(matrix);
            }
        }
    }
}
