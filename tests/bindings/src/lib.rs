// SPDX-License-Identifier: GPL-2.0

//! Portcullis's schema against the bindings that the rust-vmm project makes of the same headers.
//!
//! They come from bindgen and from other kernels, and know nothing of Portcullis: a mistake of
//! `scripts/schema` meets a witness that did not make it. The structs are listed by hand. A member
//! that a list lacks does not compile; one that the schema lacks, or has and the bindings do not,
//! fails the test.

#![cfg(test)]

use portcullis_policy::schema::{commands, Argument, Field, FieldKind, Len};

/// What the schema says of a struct.
#[derive(Clone, Copy)]
struct Known {
    size: usize,
    fields: &'static [Field],
}

/// A member as a binding has it.
struct Member {
    name: &'static str,
    offset: usize,
    size: usize,
}

/// The struct of that name; of several views of it, the one with the most fields.
fn known(name: &str) -> Option<Known> {
    let mut found: Option<Known> = None;
    let mut see = |candidate: &str, size: u32, fields: &'static [Field]| {
        let more = found.is_none_or(|found| found.fields.len() < fields.len());
        if candidate == name && more {
            let size = size as usize;
            found = Some(Known { size, fields });
        }
    };
    for command in commands() {
        if let Argument::Struct(argument) = command.argument {
            see(argument.name, argument.size, argument.fields);
            for variant in argument.variants {
                see(variant.struct_name, variant.size, variant.fields);
            }
        }
    }
    found
}

/// The elements of an array in a struct.
fn elements(array: &str, of: &str) -> Option<Known> {
    let field = known(of)?.fields.iter().find(|field| field.name == array)?;
    let FieldKind::Array(array) = field.kind else {
        return None;
    };
    Some(Known {
        size: array.stride as usize,
        fields: array.fields,
    })
}

/// The bytes of a field; of an array that is counted, none.
fn size(field: &Field) -> usize {
    match field.kind {
        FieldKind::Value { width, .. } | FieldKind::Pointer { width } => usize::from(width),
        FieldKind::Array(array) => match array.len {
            Len::Fixed(len) => (array.stride * len) as usize,
            Len::Counted { .. } | Len::Rest { .. } => 0,
        },
    }
}

/// Whether a field is that member, or in it.
fn belongs(field: &Field, member: &Member, members: &[Member]) -> bool {
    // What Rust cannot call `type`, bindgen calls `type_`.
    let is = |name: &str| {
        let name = name.trim_end_matches('_');
        let rest = field.name.strip_prefix(name);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    match member.name.starts_with("__bindgen_anon") {
        // A member without a name: what has no other member.
        true => {
            (member.offset..member.offset + member.size).contains(&(field.offset as usize))
                && !members.iter().any(|other| is(other.name))
        }
        false => is(member.name),
    }
}

/// The mistakes in what the schema says of a struct.
fn differences(name: &str, known: Option<Known>, bytes: usize, members: &[Member]) -> Vec<String> {
    let Some(known) = known else {
        return vec![format!("{name} is not in the schema")];
    };
    let mut wrong = Vec::new();
    if known.size != bytes {
        wrong.push(format!("{name} has {} bytes, not {bytes}", known.size));
    }
    for member in members {
        let mine = |field: &&Field| belongs(field, member, members);
        let here: Vec<&Field> = known.fields.iter().filter(mine).collect();
        let name = format!("{name}.{}", member.name);
        let Some(first) = here.iter().map(|field| field.offset as usize).min() else {
            // A flexible array that nothing counts.
            if member.size != 0 {
                wrong.push(format!("{name} is not in the schema"));
            }
            continue;
        };
        if first != member.offset {
            wrong.push(format!("{name} is at {first}, not at {}", member.offset));
        }
        let end = here.iter().map(|field| field.offset as usize + size(field));
        let last = end.max().unwrap_or_default();
        // Padding at the end of a nested struct is no field.
        let exact = here.len() == 1 && here[0].name == member.name.trim_end_matches('_');
        if last > member.offset + member.size || exact && last != member.offset + member.size {
            wrong.push(format!("{name} ends at {last}"));
        }
    }
    for field in known.fields {
        let theirs = members.iter().any(|member| belongs(field, member, members));
        // kvm_tdx_cmd, in the same place.
        let tdx = name == "kvm_sev_cmd" && ["flags", "hw_error"].contains(&field.name);
        if !theirs && !tdx {
            wrong.push(format!("{name}.{} is not in the bindings", field.name));
        }
    }
    wrong
}

macro_rules! structs {
    ($family:ident: $bindings:path; $(
        $name:ident $(= $array:literal of $outer:literal)? { $($field:ident),+ }
    )+) => {
        #[test]
        #[allow(unused_mut, unused_assignments)]
        fn $family() {
            use $bindings as bindings;
            let mut wrong = Vec::new();
            $({
                // Without `..`: a member that is not listed does not compile.
                fn _every_member(bindings::$name { $($field: _),+ }: bindings::$name) {}
                fn width<T, F>(_: fn(&T) -> &F) -> usize {
                    size_of::<F>()
                }
                let members = [$(Member {
                    name: stringify!($field),
                    offset: std::mem::offset_of!(bindings::$name, $field),
                    size: width(|it: &bindings::$name| &it.$field),
                }),+];
                let mut found = known(stringify!($name));
                $(found = elements($array, $outer);)?
                let bytes = size_of::<bindings::$name>();
                wrong.extend(differences(stringify!($name), found, bytes, &members));
            })+
            assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        }
    };
}

structs! { kvm: kvm_bindings;
    kvm_clear_dirty_log { slot, num_pages, first_page, __bindgen_anon_1 }
    kvm_clock_data { clock, flags, pad0, realtime, host_tsc, pad }
    kvm_coalesced_mmio_zone { addr, size, __bindgen_anon_1 }
    kvm_cpuid { nent, padding, entries }
    kvm_cpuid2 { nent, padding, entries }
    kvm_cpuid_entry = "entries" of "kvm_cpuid" { function, eax, ebx, ecx, edx, padding }
    kvm_cpuid_entry2 = "entries" of "kvm_cpuid2" { function, index, flags, eax, ebx, ecx, edx, padding }
    kvm_create_device { type_, fd, flags }
    kvm_create_guest_memfd { size, flags, reserved }
    kvm_debugregs { db, dr6, dr7, flags, reserved }
    kvm_device_attr { flags, group, attr, addr }
    kvm_dirty_log { slot, padding1, __bindgen_anon_1 }
    kvm_enable_cap { cap, flags, args, pad }
    kvm_enc_region { addr, size }
    kvm_fpu { fpr, fcw, fsw, ftwx, pad1, last_opcode, last_ip, last_dp, xmm, mxcsr, pad2 }
    kvm_guest_debug { control, pad, arch }
    kvm_hyperv_eventfd { conn_id, fd, flags, padding }
    kvm_interrupt { irq }
    kvm_ioeventfd { datamatch, addr, len, fd, flags, pad }
    kvm_irq_level { __bindgen_anon_1, level }
    kvm_irq_routing { nr, flags, entries }
    kvm_irq_routing_entry = "entries" of "kvm_irq_routing" { gsi, type_, flags, pad, u }
    kvm_irq_routing_xen_evtchn { port, vcpu, priority }
    kvm_irqchip { chip_id, pad, chip }
    kvm_irqfd { fd, gsi, flags, resamplefd, pad }
    kvm_lapic_state { regs }
    kvm_memory_attributes { address, size, attributes, flags }
    kvm_mp_state { mp_state }
    kvm_msi { address_lo, address_hi, data, flags, devid, pad }
    kvm_msr_entry = "entries" of "kvm_msrs" { index, reserved, data }
    kvm_msr_filter { flags, ranges }
    kvm_msr_filter_range = "ranges" of "kvm_msr_filter" { flags, nmsrs, base, bitmap }
    kvm_msr_list { nmsrs, indices }
    kvm_msrs { nmsrs, pad, entries }
    kvm_nested_state { flags, format, size, hdr, data }
    kvm_one_reg { id, addr }
    kvm_pit_channel_state = "channels" of "kvm_pit_state" { count, latched_count, count_latched, status_latched, status, read_state, write_state, write_latch, rw_mode, mode, bcd, gate, count_load_time }
    kvm_pit_config { flags, pad }
    kvm_pit_state { channels }
    kvm_pit_state2 { channels, flags, reserved }
    kvm_pmu_event_filter { action, nevents, fixed_counter_bitmap, flags, pad, events }
    kvm_pre_fault_memory { gpa, size, flags, padding }
    kvm_reg_list { n, reg }
    kvm_regs { rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp, r8, r9, r10, r11, r12, r13, r14, r15, rip, rflags }
    kvm_reinject_control { pit_reinject, reserved }
    kvm_sev_attestation_report { mnonce, uaddr, len, pad0 }
    kvm_sev_cmd { id, pad0, data, error, sev_fd }
    kvm_sev_dbg { src_uaddr, dst_uaddr, len, pad0 }
    kvm_sev_init { vmsa_features, flags, ghcb_version, pad1, pad2 }
    kvm_sev_launch_measure { uaddr, len, pad0 }
    kvm_sev_launch_secret { hdr_uaddr, hdr_len, pad0, guest_uaddr, guest_len, pad1, trans_uaddr, trans_len, pad2 }
    kvm_sev_launch_start { handle, policy, dh_uaddr, dh_len, pad0, session_uaddr, session_len, pad1 }
    kvm_sev_launch_update_data { uaddr, len, pad0 }
    kvm_sev_receive_start { handle, policy, pdh_uaddr, pdh_len, pad0, session_uaddr, session_len, pad1 }
    kvm_sev_receive_update_data { hdr_uaddr, hdr_len, pad0, guest_uaddr, guest_len, pad1, trans_uaddr, trans_len, pad2 }
    kvm_sev_send_start { policy, pad0, pdh_cert_uaddr, pdh_cert_len, pad1, plat_certs_uaddr, plat_certs_len, pad2, amd_certs_uaddr, amd_certs_len, pad3, session_uaddr, session_len, pad4 }
    kvm_sev_send_update_data { hdr_uaddr, hdr_len, pad0, guest_uaddr, guest_len, pad1, trans_uaddr, trans_len, pad2 }
    kvm_sev_snp_launch_finish { id_block_uaddr, id_auth_uaddr, id_block_en, auth_key_en, vcek_disabled, host_data, pad0, flags, pad1 }
    kvm_sev_snp_launch_start { policy, gosvw, flags, pad0, pad1 }
    kvm_sev_snp_launch_update { gfn_start, uaddr, len, type_, pad0, flags, pad1, pad2 }
    kvm_signal_mask { len, sigset }
    kvm_sregs { cs, ds, es, fs, gs, ss, tr, ldt, gdt, idt, cr0, cr2, cr3, cr4, cr8, efer, apic_base, interrupt_bitmap }
    kvm_sregs2 { cs, ds, es, fs, gs, ss, tr, ldt, gdt, idt, cr0, cr2, cr3, cr4, cr8, efer, apic_base, flags, pdptrs }
    kvm_svm_nested_state_data { vmcb12 }
    kvm_tpr_access_ctl { enabled, flags, reserved }
    kvm_translation { linear_address, physical_address, valid, writeable, usermode, pad }
    kvm_userspace_memory_region { slot, flags, guest_phys_addr, memory_size, userspace_addr }
    kvm_userspace_memory_region2 { slot, flags, guest_phys_addr, memory_size, userspace_addr, guest_memfd_offset, guest_memfd, pad1, pad2 }
    kvm_vapic_addr { vapic_addr }
    kvm_vcpu_events { exception, interrupt, nmi, sipi_vector, flags, smi, triple_fault, reserved, exception_has_payload, exception_payload }
    kvm_vmx_nested_state_data { vmcs12, shadow_vmcs12 }
    kvm_x86_mce { status, addr, misc, mcg_status, bank, pad1, pad2 }
    kvm_xcr = "xcrs" of "kvm_xcrs" { xcr, reserved, value }
    kvm_xcrs { nr_xcrs, flags, xcrs, padding }
    kvm_xen_hvm_attr { type_, pad, u }
    kvm_xen_hvm_config { flags, msr, blob_addr_32, blob_addr_64, blob_size_32, blob_size_64, pad2 }
    kvm_xen_vcpu_attr { type_, pad, u }
    kvm_xsave { region, extra }
}

structs! { vfio: vfio_bindings::bindings::vfio;
    vfio_bitmap { pgsize, size, data }
    vfio_device_attach_iommufd_pt { argsz, flags, pt_id, pasid }
    vfio_device_bind_iommufd { argsz, flags, iommufd, out_devid, token_uuid_ptr }
    vfio_device_detach_iommufd_pt { argsz, flags, pasid }
    vfio_device_feature { argsz, flags, data }
    vfio_device_feature_bus_master { op }
    vfio_device_feature_dma_buf { region_index, open_flags, flags, nr_ranges, dma_ranges }
    vfio_device_feature_dma_logging_control { page_size, num_ranges, __reserved, ranges }
    vfio_device_feature_dma_logging_report { iova, length, page_size, bitmap }
    vfio_device_feature_mig_state { device_state, data_fd }
    vfio_device_gfx_plane_info { argsz, flags, drm_plane_type, drm_format, drm_format_mod, width, height, stride, size, x_pos, y_pos, x_hot, y_hot, __bindgen_anon_1, reserved }
    vfio_device_info { argsz, flags, num_regions, num_irqs, cap_offset, pad }
    vfio_device_ioeventfd { argsz, flags, offset, data, fd, reserved }
    vfio_device_low_power_entry_with_wakeup { wakeup_eventfd, reserved }
    vfio_group_status { argsz, flags }
    vfio_iommu_type1_dirty_bitmap { argsz, flags, data }
    vfio_iommu_type1_dirty_bitmap_get { iova, size, bitmap }
    vfio_iommu_type1_dma_map { argsz, flags, vaddr, iova, size }
    vfio_iommu_type1_dma_unmap { argsz, flags, iova, size, data }
    vfio_iommu_type1_info { argsz, flags, iova_pgsizes, cap_offset, pad }
    vfio_irq_info { argsz, flags, index, count }
    vfio_irq_set { argsz, flags, index, start, count, data }
    vfio_pci_hot_reset { argsz, flags, count, group_fds }
    vfio_pci_hot_reset_info { argsz, flags, count, devices }
    vfio_region_info { argsz, flags, index, cap_offset, size, offset }
}

structs! { iommufd: iommufd_bindings;
    iommu_destroy { size, id }
    iommu_fault_alloc { size, flags, out_fault_id, out_fault_fd }
    iommu_hw_info { size, flags, dev_id, data_len, data_uptr, __bindgen_anon_1, out_max_pasid_log2, __reserved, out_capabilities }
    iommu_hw_queue_alloc { size, flags, viommu_id, type_, index, out_hw_queue_id, nesting_parent_iova, length }
    iommu_hwpt_alloc { size, flags, dev_id, pt_id, out_hwpt_id, __reserved, data_type, data_len, data_uptr, fault_id, __reserved2 }
    iommu_hwpt_amd_guest { dte }
    iommu_hwpt_arm_smmuv3 { ste }
    iommu_hwpt_get_dirty_bitmap { size, hwpt_id, flags, __reserved, iova, length, page_size, data }
    iommu_hwpt_invalidate { size, hwpt_id, data_uptr, data_type, entry_len, entry_num, __reserved }
    iommu_hwpt_set_dirty_tracking { size, flags, hwpt_id, __reserved }
    iommu_hwpt_vtd_s1 { flags, pgtbl_addr, addr_width, __reserved }
    iommu_ioas_alloc { size, flags, out_ioas_id }
    iommu_ioas_allow_iovas { size, ioas_id, num_iovas, __reserved, allowed_iovas }
    iommu_ioas_change_process { size, __reserved }
    iommu_ioas_copy { size, flags, dst_ioas_id, src_ioas_id, length, dst_iova, src_iova }
    iommu_ioas_iova_ranges { size, ioas_id, num_iovas, __reserved, allowed_iovas, out_iova_alignment }
    iommu_ioas_map { size, flags, ioas_id, __reserved, user_va, length, iova }
    iommu_ioas_map_file { size, flags, ioas_id, fd, start, length, iova }
    iommu_ioas_unmap { size, ioas_id, iova, length }
    iommu_option { size, option_id, op, __reserved, object_id, val64 }
    iommu_vdevice_alloc { size, viommu_id, dev_id, out_vdevice_id, virt_id }
    iommu_veventq_alloc { size, flags, viommu_id, type_, veventq_depth, out_veventq_id, out_veventq_fd, __reserved }
    iommu_vfio_ioas { size, ioas_id, op, __reserved }
    iommu_viommu_alloc { size, flags, type_, dev_id, hwpt_id, out_viommu_id, data_len, __reserved, data_uptr }
}
