// SPDX-License-Identifier: GPL-2.0
/*
 * Taking a window's mapping away from the module, in C because the lock of an address space and the
 * flags of a mapping are inline functions that the kernel crate does not have.
 */
#include <linux/mm.h>

bool portcullis_disown(struct mm_struct *mm, unsigned long address, const void *window,
		       const struct vm_operations_struct *nobody);

/*
 * From now on nothing in the mapping at @address leads to the module: neither operations nor data, and
 * no page of its. The process may do with it what it likes. Whether @window was there.
 */
bool portcullis_disown(struct mm_struct *mm, unsigned long address, const void *window,
		       const struct vm_operations_struct *nobody)
{
	struct vm_area_struct *vma;
	bool found;

	mmap_write_lock(mm);
	vma = vma_lookup(mm, address);
	found = vma && vma->vm_private_data == window;
	if (found) {
		vma_start_write(vma);
		zap_vma_range(vma, vma->vm_start, vma->vm_end - vma->vm_start);
		vma->vm_ops = nobody;
		vma->vm_private_data = NULL;
		vm_flags_clear(vma, VM_SEALED);
	}
	mmap_write_unlock(mm);
	return found;
}
