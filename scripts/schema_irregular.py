# SPDX-License-Identifier: GPL-2.0
"""What scripts/schema cannot read off the kernel's headers, row by row with its reason.

Rows name things; they hold no numbers, sizes or offsets that a header says. A row that nothing
needs any more is an error, so that the tables do not rot.
"""

# --- Where to look -------------------------------------------------------------------------------

HEADERS = [
    "asm/kvm.h", "asm/kvm_para.h", "linux/kvm_para.h", "linux/kvm.h", "linux/vfio.h",
    "linux/iommufd.h", "linux/vhost.h", "linux/vhost_types.h", "linux/virtio_config.h",
    "linux/virtio_net.h", "linux/psp-sev.h",
]

# For each surface the functions that tell its commands apart: by `case` labels, by comparing, or
# by a table of IOCTL_OP rows. A function that this kernel lacks is an error.
_VHOST = ["drivers/vhost/vhost.c:vhost_dev_ioctl", "drivers/vhost/vhost.c:vhost_vring_ioctl"]
SURFACES = {
    "Kvm": ["virt/kvm/kvm_main.c:kvm_dev_ioctl", "arch/x86/kvm/x86.c:kvm_arch_dev_ioctl"],
    "KvmVm": ["virt/kvm/kvm_main.c:kvm_vm_ioctl", "arch/x86/kvm/x86.c:kvm_arch_vm_ioctl"],
    "KvmVcpu": ["virt/kvm/kvm_main.c:kvm_vcpu_ioctl", "arch/x86/kvm/x86.c:kvm_arch_vcpu_ioctl",
                "arch/x86/kvm/x86.c:kvm_arch_vcpu_unlocked_ioctl"],
    "KvmDevice": ["virt/kvm/kvm_main.c:kvm_device_ioctl"],
    # Iommufd in the place of a container answers to a container's rules (rust/sites.rs).
    "VfioContainer": ["drivers/vfio/container.c:vfio_fops_unl_ioctl",
                      "drivers/vfio/vfio_iommu_type1.c:vfio_iommu_type1_ioctl",
                      "drivers/iommu/iommufd/vfio_compat.c:iommufd_vfio_ioctl"],
    "VfioGroup": ["drivers/vfio/group.c:vfio_group_fops_unl_ioctl"],
    "VfioDevice": ["drivers/vfio/vfio_main.c:vfio_device_fops_unl_ioctl",
                   "drivers/vfio/pci/vfio_pci_core.c:vfio_pci_core_ioctl",
                   "drivers/gpu/drm/i915/gvt/kvmgt.c:intel_vgpu_ioctl"],
    "Iommufd": ["drivers/iommu/iommufd/main.c:iommufd_ioctl_ops"],
    "VhostNet": ["drivers/vhost/net.c:vhost_net_ioctl", *_VHOST],
    "VhostVsock": ["drivers/vhost/vsock.c:vhost_vsock_dev_ioctl", *_VHOST],
    "VhostScsi": ["drivers/vhost/scsi.c:vhost_scsi_ioctl", *_VHOST],
    "VhostVdpa": ["drivers/vhost/vdpa.c:vhost_vdpa_unlocked_ioctl",
                  "drivers/vhost/vdpa.c:vhost_vdpa_vring_ioctl", *_VHOST],
    "Sev": ["drivers/crypto/ccp/sev-dev.c:sev_ioctl"],
}

# A table is walked by this function.
DISPATCHED_BY = {"iommufd_ioctl_ops": "iommufd_fops_ioctl"}

# The label is there to say no.
REFUSED = {
    ("VhostVdpa", "VHOST_SET_LOG_BASE"), ("VhostVdpa", "VHOST_SET_LOG_FD"),     # -ENOIOCTLCMD
}

# --- Arguments -----------------------------------------------------------------------------------


def nothing():
    """The handler ignores it, or wants it to be 0."""
    return {"argument": "none"}


def scalar(width):
    """The value itself; the handler looks at this many of its bytes."""
    return {"argument": "scalar", "width": width}


def struct(c_type, direction, **more):
    """The address of a struct, which the macro does not name."""
    return {"argument": "struct", "type": f"struct {c_type}", "direction": direction, **more}


def number(c_type, direction):
    """The address of a bare number, which the macro does not name."""
    return {"argument": "struct", "type": c_type, "direction": direction}


def goes(direction, **more):
    """What the macro says, but another direction, or more than it says."""
    return {"argument": "struct", "direction": direction, **more}


def vfio(c_type, direction, **more):
    """VFIO's macros are all _IO; its structs begin with their size, argsz."""
    return struct(c_type, direction, sized_by="argsz", **more)


def iommufd(c_type, direction, **more):
    """iommufd's are too; iommufd_fops_ioctl reads `size` bytes and fills up with zeroes."""
    return struct(c_type, direction, sized_by="size", **more)


# Structs behind a pointer or at the end, by the value of a field: (constant, prefix, struct).
# Only what the kernel reads is here. Left out, because there is nothing to judge before the call:
# what is only written (KVM_SEV_GUEST_STATUS, KVM_TDX_CAPABILITIES, SEV_PLATFORM_STATUS, SEV_GET_ID,
# SNP_PLATFORM_STATUS, VFIO_DEVICE_FEATURE_MIGRATION and _MIG_DATA_SIZE, IOMMU_GET_HW_INFO,
# IOMMU_VIOMMU_ALLOC, whose only data are Tegra's), or is no struct
# (KVM_TDX_INIT_VCPU: `data` is a value; VFIO_DEVICE_FEATURE_PCI_VF_TOKEN: a secret of 16 bytes).
# Not followed, because no variant can say how many there are:
#   IOMMU_HWPT_INVALIDATE   data_uptr: entry_num elements of entry_len bytes
#   IOMMU_IOAS_ALLOW_IOVAS, VFIO_DEVICE_FEATURE_DMA_LOGGING_START   an array behind a pointer
#   KVM_TDX_INIT_VM, KVM_TDX_GET_CPUID   cpuid.entries, counted by cpuid.nent: a copy of what stands in
#     front of it would not do, since the handler is to find all of it in one piece
#   VFIO_DEVICE_FEATURE_DMA_BUF   dma_ranges, counted by nr_ranges
#   KVM_GET_DIRTY_LOG, KVM_X86_SET_MSR_FILTER, and all blobs of SEV   bitmaps and ciphertext
#   KVM_GET_ONE_REG, KVM_SET_ONE_REG   the register's size is a part of its id
SEV_OF_KVM = {
    "selector": "id", "at": ("Pointer", "data"), "cases": [
        ("KVM_SEV_INIT2", "data.init2", "kvm_sev_init"),
        ("KVM_SEV_LAUNCH_START", "data.launch_start", "kvm_sev_launch_start"),
        ("KVM_SEV_LAUNCH_UPDATE_DATA", "data.launch_update_data", "kvm_sev_launch_update_data"),
        ("KVM_SEV_LAUNCH_SECRET", "data.launch_secret", "kvm_sev_launch_secret"),
        ("KVM_SEV_LAUNCH_MEASURE", "data.launch_measure", "kvm_sev_launch_measure"),
        ("KVM_SEV_SEND_START", "data.send_start", "kvm_sev_send_start"),
        ("KVM_SEV_SEND_UPDATE_DATA", "data.send_update_data", "kvm_sev_send_update_data"),
        ("KVM_SEV_RECEIVE_START", "data.receive_start", "kvm_sev_receive_start"),
        ("KVM_SEV_RECEIVE_UPDATE_DATA", "data.receive_update_data", "kvm_sev_receive_update_data"),
        ("KVM_SEV_DBG_DECRYPT", "data.dbg_decrypt", "kvm_sev_dbg"),
        ("KVM_SEV_DBG_ENCRYPT", "data.dbg_encrypt", "kvm_sev_dbg"),
        ("KVM_SEV_GET_ATTESTATION_REPORT", "data.attestation_report", "kvm_sev_attestation_report"),
        ("KVM_SEV_SNP_LAUNCH_START", "data.snp_launch_start", "kvm_sev_snp_launch_start"),
        ("KVM_SEV_SNP_LAUNCH_UPDATE", "data.snp_launch_update", "kvm_sev_snp_launch_update"),
        ("KVM_SEV_SNP_LAUNCH_FINISH", "data.snp_launch_finish", "kvm_sev_snp_launch_finish"),
    ]}
TDX_OF_KVM = {
    "selector": "id", "at": ("Pointer", "data"), "cases": [
        ("KVM_TDX_INIT_MEM_REGION", "data.tdx_init_mem_region", "kvm_tdx_init_mem_region"),
    ]}
SEV_OF_CCP = {
    "selector": "cmd", "at": ("Pointer", "data"), "cases": [
        ("SEV_PEK_CSR", "data.pek_csr", "sev_user_data_pek_csr"),
        ("SEV_PDH_CERT_EXPORT", "data.pdh_cert_export", "sev_user_data_pdh_cert_export"),
        ("SEV_PEK_CERT_IMPORT", "data.pek_cert_import", "sev_user_data_pek_cert_import"),
        ("SEV_GET_ID2", "data.get_id2", "sev_user_data_get_id2"),
        ("SNP_SET_CONFIG", "data.snp_config", "sev_user_data_snp_config"),
        ("SNP_VLEK_LOAD", "data.snp_vlek_load", "sev_user_data_snp_vlek_load"),
    ]}
# On the surface kvm-device, group KVM_DEV_VFIO_FILE; on kvm-vcpu, KVM_VCPU_TSC_CTRL.
DEVICE_ATTR = {
    "selector": "group", "at": ("Pointer", "addr"), "cases": [
        ("KVM_DEV_VFIO_FILE", "addr.fd", "__s32"),
        ("KVM_VCPU_TSC_CTRL", "addr.tsc_offset", "__u64"),
    ]}
NESTED_STATE = {
    "selector": "format", "at": ("Inline", "data"), "cases": [
        ("KVM_STATE_NESTED_FORMAT_VMX", "data.vmx", "kvm_vmx_nested_state_data"),
        ("KVM_STATE_NESTED_FORMAT_SVM", "data.svm", "kvm_svm_nested_state_data"),
    ]}
FEATURE = {
    "selector": "flags", "mask": "VFIO_DEVICE_FEATURE_MASK", "at": ("Inline", "data"), "cases": [
        ("VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE", "data.mig_state", "vfio_device_feature_mig_state"),
        ("VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP", "data.low_power",
         "vfio_device_low_power_entry_with_wakeup"),
        ("VFIO_DEVICE_FEATURE_DMA_LOGGING_START", "data.dma_logging",
         "vfio_device_feature_dma_logging_control"),
        ("VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT", "data.dma_report",
         "vfio_device_feature_dma_logging_report"),
        ("VFIO_DEVICE_FEATURE_BUS_MASTER", "data.bus_master", "vfio_device_feature_bus_master"),
        ("VFIO_DEVICE_FEATURE_DMA_BUF", "data.dma_buf", "vfio_device_feature_dma_buf"),
    ]}
UNMAP_BITMAP = {
    "selector": "flags", "mask": "VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP", "at": ("Inline", "data"),
    "cases": [("VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP", "data.bitmap", "vfio_bitmap")]}
DIRTY_PAGES = {
    "selector": "flags", "mask": "VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP", "at": ("Inline", "data"),
    "cases": [("VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP", "data.get",
               "vfio_iommu_type1_dirty_bitmap_get")]}
HWPT_DATA = {
    "selector": "data_type", "at": ("Pointer", "data_uptr"), "cases": [
        ("IOMMU_HWPT_DATA_VTD_S1", "data.vtd_s1", "iommu_hwpt_vtd_s1"),
        ("IOMMU_HWPT_DATA_AMD_GUEST", "data.amd_guest", "iommu_hwpt_amd_guest"),
        ("IOMMU_HWPT_DATA_ARM_SMMUV3", "data.arm_smmuv3", "iommu_hwpt_arm_smmuv3"),
    ]}

# A vector of MSI-X; no PCI device has more of anything.
_VECTORS = ("include/uapi/linux/pci_regs.h", r"PCI_MSIX_FLAGS_QSIZE\s+(\w+)", lambda last: last + 1)

ARGUMENTS = {
    # _IO says nothing about the argument, so each has a row.
    "KVM_GET_API_VERSION": nothing(),
    "KVM_GET_VCPU_MMAP_SIZE": nothing(),
    "KVM_CREATE_IRQCHIP": nothing(),
    "KVM_CREATE_PIT": nothing(),
    "KVM_GET_TSC_KHZ": nothing(),
    "KVM_RESET_DIRTY_RINGS": nothing(),
    "KVM_RUN": nothing(),
    "KVM_NMI": nothing(),
    "KVM_KVMCLOCK_CTRL": nothing(),
    "KVM_SMI": nothing(),
    "KVM_GET_STATS_FD": nothing(),
    "VFIO_GET_API_VERSION": nothing(),
    "VFIO_GROUP_UNSET_CONTAINER": nothing(),
    "VFIO_DEVICE_RESET": nothing(),
    "VHOST_SET_OWNER": nothing(),
    "VHOST_RESET_OWNER": nothing(),
    "VHOST_VDPA_SUSPEND": nothing(),
    "VHOST_VDPA_RESUME": nothing(),

    # _IO that takes a value. kvm_dev_ioctl_create_vm, kvm_vm_ioctl_create_vcpu and the others
    # take an unsigned long;
    "KVM_CREATE_VM": scalar(8),
    "KVM_CHECK_EXTENSION": scalar(8),
    "KVM_CREATE_VCPU": scalar(8),
    "KVM_SET_NR_MMU_PAGES": scalar(8),
    "KVM_SET_TSS_ADDR": scalar(8),
    "VFIO_CHECK_EXTENSION": scalar(8),
    "VFIO_SET_IOMMU": scalar(8),
    # these a u32, without looking at the upper half.
    "KVM_SET_TSC_KHZ": scalar(4),           # user_tsc_khz = (u32)arg
    "KVM_SET_BOOT_CPU_ID": scalar(4),       # kvm->arch.bsp_vcpu_id = arg; today more is refused

    # The direction is not the macro's.
    "KVM_REINJECT_CONTROL": struct("kvm_reinject_control", "In"),  # _IO, but copies this from arg
    "KVM_SET_IRQCHIP": goes("In"),                      # _IOR
    "KVM_SET_PIT": goes("In"),                          # _IOR
    "KVM_MEMORY_ENCRYPT_REG_REGION": goes("In"),        # _IOR
    "KVM_MEMORY_ENCRYPT_UNREG_REGION": goes("In"),      # _IOR
    "KVM_CLEAR_DIRTY_LOG": goes("In"),                  # _IOWR, but nothing is copied back
    "KVM_CREATE_GUEST_MEMFD": goes("In"),               # _IOWR, but the fd is the return value
    "VHOST_GET_VRING_ENDIAN": goes("InOut"),            # _IOW, reads index and writes num
    "VHOST_GET_VRING_BUSYLOOP_TIMEOUT": goes("InOut"),  # the same
    "VHOST_SCSI_GET_ABI_VERSION": goes("Out"),          # _IOW
    "VHOST_SCSI_GET_EVENTS_MISSED": goes("Out"),        # _IOW
    # _IOR, but it reads count; and off and len. What else there is, it writes.
    "VHOST_GET_FEATURES_ARRAY": goes("InOut", skip=["features"], open_ended=True),
    "VHOST_VDPA_GET_CONFIG": goes("InOut", skip=["buf"], open_ended=True),

    # Flexible arrays that the kernel only writes: there is nothing in them to judge.
    "KVM_GET_SUPPORTED_CPUID": goes("InOut", skip=["entries"], open_ended=True),
    "KVM_GET_SUPPORTED_HV_CPUID": goes("InOut", skip=["entries"], open_ended=True),
    "KVM_GET_CPUID2": goes("InOut", skip=["entries"], open_ended=True),
    "KVM_GET_MSR_INDEX_LIST": goes("InOut", open_ended=True),
    "KVM_GET_MSR_FEATURE_INDEX_LIST": goes("InOut", open_ended=True),
    "KVM_GET_REG_LIST": goes("InOut", open_ended=True),
    # It writes as many bytes as `size` says, header and all.
    "KVM_GET_NESTED_STATE": goes("InOut", sized_by="size"),
    "VFIO_DEVICE_GET_PCI_HOT_RESET_INFO": vfio("vfio_pci_hot_reset_info", "InOut",
                                               skip=["devices"]),

    # As many bytes as KVM_CHECK_EXTENSION(KVM_CAP_XSAVE2) says, which depends on the host and on
    # arch_prctl() of the caller.
    "KVM_SET_XSAVE": goes("In", open_ended=True),
    "KVM_GET_XSAVE2": goes("Out", open_ended=True),

    # The macro says unsigned long; kvm-amd reads the one, kvm-intel the other.
    "KVM_MEMORY_ENCRYPT_OP": struct("kvm_sev_cmd", "InOut", also="kvm_tdx_cmd",
                                    variants=[SEV_OF_KVM, TDX_OF_KVM]),
    # addr is read while the attribute is set, after the struct.
    "KVM_SET_DEVICE_ATTR": goes("In", variants=[DEVICE_ATTR]),
    # `size` counts the header too.
    "KVM_SET_NESTED_STATE": goes("In", sized_by="size", variants=[NESTED_STATE]),
    "SEV_ISSUE_CMD": goes("InOut", variants=[SEV_OF_CCP]),

    "VFIO_GROUP_GET_STATUS": vfio("vfio_group_status", "InOut"),
    "VFIO_GROUP_SET_CONTAINER": number("__s32", "In"),          # get_user(fd, arg)
    # The name of a device, as text with a NUL at its end.
    "VFIO_GROUP_GET_DEVICE_FD": {"argument": "opaque", "type": "char", "direction": "In"},
    "VFIO_DEVICE_GET_INFO": vfio("vfio_device_info", "InOut"),
    "VFIO_DEVICE_GET_REGION_INFO": vfio("vfio_region_info", "InOut"),
    "VFIO_DEVICE_GET_IRQ_INFO": vfio("vfio_irq_info", "InOut"),
    # data is what flags say: nothing, bools or eventfds, `count` of them.
    "VFIO_DEVICE_SET_IRQS": vfio("vfio_irq_set", "In", skip=["data"], arrays=[
        ("data.bool", "__u8", "data", ("count", _VECTORS)),
        ("data.eventfd", "__s32", "data", ("count", _VECTORS)),
    ]),
    # vfio_pci_ioctl_pci_hot_reset() copies as many descriptors as `count` says, whatever argsz is.
    "VFIO_DEVICE_PCI_HOT_RESET": struct("vfio_pci_hot_reset", "In"),
    "VFIO_DEVICE_QUERY_GFX_PLANE": vfio("vfio_device_gfx_plane_info", "InOut"),
    "VFIO_DEVICE_GET_GFX_DMABUF": number("__u32", "In"),        # get_user(dmabuf_id, arg)
    "VFIO_DEVICE_IOEVENTFD": vfio("vfio_device_ioeventfd", "In"),
    "VFIO_DEVICE_FEATURE": vfio("vfio_device_feature", "InOut", skip=["data"], variants=[FEATURE]),
    "VFIO_DEVICE_BIND_IOMMUFD": vfio("vfio_device_bind_iommufd", "InOut"),
    "VFIO_DEVICE_ATTACH_IOMMUFD_PT": vfio("vfio_device_attach_iommufd_pt", "InOut"),
    "VFIO_DEVICE_DETACH_IOMMUFD_PT": vfio("vfio_device_detach_iommufd_pt", "In"),
    "VFIO_IOMMU_GET_INFO": vfio("vfio_iommu_type1_info", "InOut"),
    "VFIO_IOMMU_MAP_DMA": vfio("vfio_iommu_type1_dma_map", "In"),
    "VFIO_IOMMU_UNMAP_DMA": vfio("vfio_iommu_type1_dma_unmap", "InOut", skip=["data"],
                                 variants=[UNMAP_BITMAP]),
    "VFIO_IOMMU_DIRTY_PAGES": vfio("vfio_iommu_type1_dirty_bitmap", "In", skip=["data"],
                                   variants=[DIRTY_PAGES]),

    # InOut where the handler calls iommufd_ucmd_respond(), or writes a field with put_user().
    "IOMMU_DESTROY": iommufd("iommu_destroy", "In"),
    "IOMMU_IOAS_ALLOC": iommufd("iommu_ioas_alloc", "InOut"),
    "IOMMU_IOAS_IOVA_RANGES": iommufd("iommu_ioas_iova_ranges", "InOut"),
    "IOMMU_IOAS_ALLOW_IOVAS": iommufd("iommu_ioas_allow_iovas", "In"),
    "IOMMU_IOAS_MAP": iommufd("iommu_ioas_map", "InOut"),
    "IOMMU_IOAS_MAP_FILE": iommufd("iommu_ioas_map_file", "InOut"),
    "IOMMU_IOAS_NOIOMMU_GET_PA": iommufd("iommu_ioas_noiommu_get_pa", "InOut"),
    "IOMMU_IOAS_COPY": iommufd("iommu_ioas_copy", "InOut"),
    "IOMMU_IOAS_UNMAP": iommufd("iommu_ioas_unmap", "InOut"),
    "IOMMU_IOAS_CHANGE_PROCESS": iommufd("iommu_ioas_change_process", "In"),
    "IOMMU_OPTION": iommufd("iommu_option", "InOut"),
    "IOMMU_VFIO_IOAS": iommufd("iommu_vfio_ioas", "InOut"),
    "IOMMU_HWPT_ALLOC": iommufd("iommu_hwpt_alloc", "InOut", variants=[HWPT_DATA]),
    "IOMMU_HWPT_INVALIDATE": iommufd("iommu_hwpt_invalidate", "InOut"),
    "IOMMU_HWPT_SET_DIRTY_TRACKING": iommufd("iommu_hwpt_set_dirty_tracking", "In"),
    "IOMMU_HWPT_GET_DIRTY_BITMAP": iommufd("iommu_hwpt_get_dirty_bitmap", "In"),
    "IOMMU_GET_HW_INFO": iommufd("iommu_hw_info", "InOut"),
    "IOMMU_FAULT_QUEUE_ALLOC": iommufd("iommu_fault_alloc", "InOut"),
    "IOMMU_VIOMMU_ALLOC": iommufd("iommu_viommu_alloc", "InOut"),
    "IOMMU_VDEVICE_ALLOC": iommufd("iommu_vdevice_alloc", "InOut"),
    "IOMMU_VEVENTQ_ALLOC": iommufd("iommu_veventq_alloc", "InOut"),
    "IOMMU_HW_QUEUE_ALLOC": iommufd("iommu_hw_queue_alloc", "InOut"),
}

# Structs of the kernel's own that it reads from a 32-bit caller. Everything else is read in the
# layout of a 64-bit caller, whoever calls: kvm_vcpu_compat_ioctl() looks at KVM_SET_SIGNAL_MASK
# too, but a compat_sigset_t has the same bytes.
COMPAT = {
    "KVM_GET_DIRTY_LOG": ("virt/kvm/kvm_main.c", "compat_kvm_dirty_log"),
    "KVM_CLEAR_DIRTY_LOG": ("virt/kvm/kvm_main.c", "compat_kvm_clear_dirty_log"),
    "KVM_X86_SET_MSR_FILTER": ("arch/x86/kvm/x86.c", "kvm_msr_filter_compat"),
}

# --- Members -------------------------------------------------------------------------------------

LEFT_OUT = "left out"

# Flexible arrays: (count, limit). The limit is a place in the source and what to do with the number
# that stands there.
_CPUID = ("arch/x86/include/asm/kvm_host.h", r"define KVM_MAX_CPUID_ENTRIES (\d+)", lambda n: n)
FLEXIBLE = {
    "kvm_cpuid.entries": ("nent", _CPUID),
    "kvm_cpuid2.entries": ("nent", _CPUID),
    # msr_io() refuses `nmsrs >= MAX_IO_MSRS`.
    "kvm_msrs.entries": ("nmsrs",
                         ("arch/x86/kvm/msrs.c", r"define MAX_IO_MSRS (\d+)", lambda n: n - 1)),
    "kvm_irq_routing.entries": ("nr", ("include/linux/kvm_host.h",
                                                  r"define KVM_MAX_IRQ_ROUTES (\d+)", lambda n: n)),
    "kvm_pmu_event_filter.events": ("nevents", (
        "arch/x86/kvm/pmu.c", r"define KVM_PMU_EVENT_FILTER_MAX_EVENTS (\d+)", lambda n: n)),
    # kvm_vcpu_ioctl() wants `len` to be sizeof(sigset_t).
    "kvm_signal_mask.sigset": ("len", ("arch/x86/include/asm/signal.h",
                                                  r"define _NSIG\s+(\d+)", lambda bits: bits // 8)),
    # A module parameter; its type, ushort, is all that bounds it.
    "vhost_memory.regions": ("nregions", (
        "drivers/vhost/vhost.c", r"static ushort max_mem_regions = (\d+);", lambda _: 0xFFFF)),
    # What is behind these must be 0.
    "vhost_features_array.features": ("count", (
        "include/linux/virtio_features.h", r"define VIRTIO_FEATURES_U64S\s+(\d+)", lambda n: n)),
    # The device says how long its config space is; a PCI one has no more than this.
    "vhost_vdpa_config.buf": ("len", (
        "include/uapi/linux/pci_regs.h", r"define PCI_CFG_SPACE_EXP_SIZE\s+(\d+)", lambda n: n)),
    # As many as there are functions on the bus that is reset: a devfn is a u8.
    "vfio_pci_hot_reset.group_fds": ("count", 256),
    # Only written.
    "kvm_msr_list.indices": LEFT_OUT,
    "kvm_reg_list.reg": LEFT_OUT,
    # See KVM_SET_XSAVE above.
    "kvm_xsave.extra": LEFT_OUT,
    # Described as variants.
    "kvm_nested_state.data.vmx": LEFT_OUT,
    "kvm_nested_state.data.svm": LEFT_OUT,
}

# The member that stands for the bit fields of one storage unit, or None where another member of a
# union has their bits.
BITFIELDS = {
    "kvm_ioapic_state.redirtbl.fields.delivery_mode": None,
    "kvm_ioapic_state.redirtbl.fields.mask": None,
    "sev_user_data_snp_config.mask_chip_id": "mask",    # bit 0: chip id, bit 1: chip key
}

# Numbers that the kernel takes for addresses of the caller's, and reads or writes there. Ranges of
# the caller's memory that it only maps or pins are plain values: a rule adds sizes to them.
POINTERS = [
    "kvm_device_attr.addr", "kvm_one_reg.addr", "kvm_sev_cmd.data", "kvm_tdx_cmd.data",
    "kvm_sev_launch_start.dh_uaddr", "kvm_sev_launch_start.session_uaddr",
    "kvm_sev_launch_secret.hdr_uaddr", "kvm_sev_launch_secret.trans_uaddr",
    "kvm_sev_launch_measure.uaddr", "kvm_sev_attestation_report.uaddr",
    "kvm_sev_send_start.pdh_cert_uaddr", "kvm_sev_send_start.plat_certs_uaddr",
    "kvm_sev_send_start.amd_certs_uaddr", "kvm_sev_send_start.session_uaddr",
    "kvm_sev_send_update_data.hdr_uaddr", "kvm_sev_send_update_data.trans_uaddr",
    "kvm_sev_receive_start.pdh_uaddr", "kvm_sev_receive_start.session_uaddr",
    "kvm_sev_receive_update_data.hdr_uaddr", "kvm_sev_receive_update_data.trans_uaddr",
    "kvm_sev_snp_launch_finish.id_block_uaddr", "kvm_sev_snp_launch_finish.id_auth_uaddr",
    "kvm_xen_hvm_config.blob_addr_32", "kvm_xen_hvm_config.blob_addr_64",
    "sev_issue_cmd.data", "sev_user_data_pek_csr.address",
    "sev_user_data_pdh_cert_export.pdh_cert_address",
    "sev_user_data_pdh_cert_export.cert_chain_address",
    "sev_user_data_pek_cert_import.pek_cert_address",
    "sev_user_data_pek_cert_import.oca_cert_address",
    "sev_user_data_get_id2.address", "sev_user_data_snp_vlek_load.vlek_wrapped_address",
    "vfio_device_bind_iommufd.token_uuid_ptr", "vfio_device_feature_dma_logging_control.ranges",
    "vfio_device_feature_dma_logging_report.bitmap",
    "iommu_ioas_iova_ranges.allowed_iovas", "iommu_ioas_allow_iovas.allowed_iovas",
    "iommu_hwpt_alloc.data_uptr", "iommu_hw_info.data_uptr", "iommu_hwpt_get_dirty_bitmap.data",
    "iommu_hwpt_invalidate.data_uptr", "iommu_viommu_alloc.data_uptr",
]

# --- Constants -----------------------------------------------------------------------------------

# Names that are no value of a field: bits of the header's own arithmetic, what only kvm_run, the
# stats files or capability chains hold, versions.
NO_CONSTANTS = (
    r"_\w*|[a-z]\w*|KVMIO|KVM_EXIT_\w+|KVM_INTERNAL_ERROR_\w+|KVM_SYSTEM_EVENT_\w+|KVM_STATS_\w+"
    r"|KVM_(RUN|SYNC|HC|NOTIFY|DIRTY_GFN|MSR_EXIT|MMU|STEAL|ASYNC_PF|PV|MAP_GPA|VCPU_FLUSH)_\w+"
    r"|KVM_(ENOSYS|EOPNOTSUPP|VCPU_PREEMPTED|MIGRATION_READY|MSR_ENABLED|\w+_PAGE_OFFSET|\w+_BATCH)"
    r"|SYNC_REGS_SIZE_BYTES|VFIO_(TYPE|BASE)|VFIO_(DEVICE|REGION)_INFO_CAP_\w+"
    r"|VFIO_IOMMU_TYPE1_INFO_\w+"
    r"|VFIO_(REGION_TYPE|REGION_SUBTYPE|CCW|AP|EEH_PE|PRECOPY|DEVICE_STATE_V1)_\w+|IOMMUFD_TYPE"
    r"|IOMMUFD_CMD_\w+|VHOST_VIRTIO|VHOST_IOTLB_\w+|VHOST_ACCESS_\w+|SEV_IOC_TYPE|SEV_RET_\w+"
    r"|VIRTIO_TRANSPORT_F_\w+|VIRTIO_NET_(?!F_)\w+|\w+_MAX"
    # Bits of the second word of features, which no mask of 64 bits can hold.
    r"|VIRTIO_NET_F_(GUEST|HOST)_UDP_TUNNEL_\w+"
)

# The header has the number of a bit; a field has the bit, and so do the tables.
BITS = r"VIRTIO_(NET_)?F_\w+|VHOST_(NET_|BACKEND_|VRING_)?F_\w+|KVM_(FEATURE|HINTS)_\w+"

# The constants that a field takes, by struct.field; a scalar's or a bare number's, by command.
_FEATURES = r"VIRTIO_(NET_)?F_\w+|VHOST_F_LOG_ALL|VHOST_NET_F_\w+"
CONSTANTS = {
    "KVM_CREATE_VM": r"KVM_X86_\w+_VM",
    "KVM_CHECK_EXTENSION": r"KVM_CAP_\w+",
    "VFIO_CHECK_EXTENSION": r"VFIO_(\w+_IOMMU|EEH|UNMAP_ALL|UPDATE_VADDR)",
    "VFIO_SET_IOMMU": r"VFIO_\w+_IOMMU",
    "VHOST_GET_FEATURES": _FEATURES,
    "VHOST_SET_FEATURES": _FEATURES,
    "VHOST_GET_BACKEND_FEATURES": r"VHOST_BACKEND_F_\w+",
    "VHOST_SET_BACKEND_FEATURES": r"VHOST_BACKEND_F_\w+",
    "VHOST_VDPA_SET_STATUS": r"VIRTIO_CONFIG_S_\w+",
    "VHOST_VDPA_GET_STATUS": r"VIRTIO_CONFIG_S_\w+",
    "VHOST_SET_FORK_FROM_OWNER": r"VHOST_FORK_OWNER_\w+",
    "VHOST_GET_FORK_FROM_OWNER": r"VHOST_FORK_OWNER_\w+",
    "VHOST_SET_LOG_FD": r"VHOST_FILE_UNBIND",
    "VHOST_VDPA_SET_CONFIG_CALL": r"VHOST_FILE_UNBIND",

    "kvm_userspace_memory_region.flags": r"KVM_MEM_(LOG_DIRTY_PAGES|READONLY)",
    "kvm_userspace_memory_region2.flags": r"KVM_MEM_(LOG_DIRTY_PAGES|READONLY|GUEST_MEMFD)",
    "kvm_irqchip.chip_id": r"KVM_IRQCHIP_\w+",
    "kvm_pit_config.flags": r"KVM_PIT_SPEAKER_DUMMY",
    "kvm_pit_state2.flags": r"KVM_PIT_FLAGS_\w+",
    "kvm_irq_routing_entry.type": r"KVM_IRQ_ROUTING_(IRQCHIP|MSI|S390_ADAPTER|HV_SINT|XEN_EVTCHN)",
    "kvm_irq_routing_entry.flags": r"KVM_MSI_VALID_DEVID",
    "kvm_irq_routing_irqchip.irqchip": r"KVM_IRQCHIP_\w+",
    "kvm_irq_routing_xen_evtchn.priority": r"KVM_IRQ_ROUTING_XEN_EVTCHN_PRIO_\w+",
    "kvm_irqfd.flags": r"KVM_IRQFD_FLAG_\w+",
    "kvm_ioeventfd.flags": r"KVM_IOEVENTFD_FLAG_\w+",
    "kvm_msi.flags": r"KVM_MSI_VALID_DEVID",
    "kvm_clock_data.flags": r"KVM_CLOCK_\w+",
    "kvm_create_device.type": r"KVM_DEV_TYPE_\w+",
    "kvm_create_device.flags": r"KVM_CREATE_DEVICE_TEST",
    "kvm_device_attr.group": r"KVM_DEV_VFIO_(FILE|GROUP)|KVM_VCPU_TSC_CTRL|KVM_X86_GRP_\w+",
    "kvm_device_attr.attr": r"KVM_DEV_VFIO_(FILE|GROUP)_\w+|KVM_VCPU_TSC_OFFSET|KVM_X86_XCOMP_\w+"
                            r"|KVM_X86_SEV_VMSA_FEATURES|KVM_X86_SNP_POLICY_BITS"
                            r"|KVM_X86_SEV_SNP_REQ_CERTS",
    "kvm_enable_cap.cap": r"KVM_CAP_\w+",
    # What the words mean depends on the capability.
    "kvm_enable_cap.args": r"KVM_X86_(DISABLE_EXITS|QUIRK|NOTIFY_VMEXIT)_\w+|KVM_X2APIC_\w+"
                           r"|KVM_BUS_LOCK_DETECTION_\w+|KVM_PMU_CAP_DISABLE"
                           r"|KVM_DIRTY_LOG_(MANUAL|INIT)\w+",
    "kvm_mp_state.mp_state": r"KVM_MP_STATE_\w+",
    "kvm_guest_debug.control": r"KVM_GUESTDBG_\w+",
    "kvm_vcpu_events.flags": r"KVM_VCPUEVENT_VALID_\w+",
    "kvm_vcpu_events.exception.nr": r"[A-Z]{2}_VECTOR",
    "kvm_vcpu_events.interrupt.shadow": r"KVM_X86_SHADOW_INT_\w+",
    "kvm_sregs2.flags": r"KVM_SREGS2_FLAGS_\w+",
    "kvm_msr_entry.index": r"MSR_KVM_\w+",
    "kvm_cpuid_entry.function": r"KVM_CPUID_(SIGNATURE|FEATURES)",
    "kvm_cpuid_entry2.function": r"KVM_CPUID_(SIGNATURE|FEATURES)",
    "kvm_cpuid_entry.eax": r"KVM_FEATURE_\w+",
    "kvm_cpuid_entry2.eax": r"KVM_FEATURE_\w+",
    "kvm_cpuid_entry.edx": r"KVM_HINTS_\w+",
    "kvm_cpuid_entry2.edx": r"KVM_HINTS_\w+",
    "kvm_cpuid_entry2.flags": r"KVM_CPUID_FLAG_\w+",
    "kvm_msr_filter.flags": r"KVM_MSR_FILTER_DEFAULT_\w+",
    "kvm_msr_filter_range.flags": r"KVM_MSR_FILTER_(READ|WRITE)",
    "kvm_pmu_event_filter.action": r"KVM_PMU_EVENT_(ALLOW|DENY)",
    "kvm_pmu_event_filter.flags": r"KVM_PMU_EVENT_FLAG_\w+",
    "kvm_one_reg.id": r"KVM_REG_(X86|SIZE_\w+|ARCH_MASK|GUEST_SSP)",
    "kvm_xen_hvm_config.flags": r"KVM_XEN_HVM_CONFIG_\w+",
    "kvm_xen_hvm_attr.type": r"KVM_XEN_ATTR_TYPE_\w+",
    "kvm_xen_hvm_attr.u.shared_info.gfn": r"KVM_XEN_INVALID_GFN",
    "kvm_xen_hvm_attr.u.evtchn.flags": r"KVM_XEN_EVTCHN_\w+",
    "kvm_xen_vcpu_attr.type": r"KVM_XEN_VCPU_ATTR_TYPE_\w+",
    "kvm_xen_vcpu_attr.u.gpa": r"KVM_XEN_INVALID_GPA",
    "kvm_hyperv_eventfd.flags": r"KVM_HYPERV_EVENTFD_\w+",
    "kvm_hyperv_eventfd.conn_id": r"KVM_HYPERV_CONN_ID_MASK",
    "kvm_nested_state.flags":
        r"KVM_STATE_NESTED_(GUEST_MODE|RUN_PENDING|EVMCS|MTF_PENDING|GIF_SET)",
    "kvm_nested_state.format": r"KVM_STATE_NESTED_FORMAT_\w+",
    "kvm_vmx_nested_state_hdr.smm.flags": r"KVM_STATE_NESTED_SMM_\w+",
    "kvm_vmx_nested_state_hdr.flags": r"KVM_STATE_VMX_\w+",
    "kvm_memory_attributes.attributes": r"KVM_MEMORY_ATTRIBUTE_\w+",
    "kvm_create_guest_memfd.flags": r"GUEST_MEMFD_FLAG_\w+",
    "kvm_sev_cmd.id":
        r"KVM_(SEV_(?!PAGE_TYPE|SNP_PAGE_TYPE|NR_|SNP_ID_|SNP_FINISH)|TDX_(?!MEASURE|CMD_))\w+",
    "kvm_tdx_cmd.flags": r"KVM_TDX_MEASURE_MEMORY_REGION",
    "kvm_sev_snp_launch_update.type": r"KVM_SEV_(SNP_)?PAGE_TYPE_\w+",

    "sev_issue_cmd.cmd": r"SEV_(FACTORY|PLATFORM|PEK|PDH|GET)_\w+|SNP_\w+",

    "vfio_group_status.flags": r"VFIO_GROUP_FLAGS_\w+",
    "vfio_device_info.flags": r"VFIO_DEVICE_FLAGS_\w+",
    "vfio_region_info.flags": r"VFIO_REGION_INFO_FLAG_\w+",
    "vfio_region_info.index": r"VFIO_PCI_\w+_REGION_INDEX",
    "vfio_irq_info.flags": r"VFIO_IRQ_INFO_\w+",
    "vfio_irq_info.index": r"VFIO_PCI_\w+_IRQ_INDEX",
    "vfio_irq_set.flags": r"VFIO_IRQ_SET_\w+",
    "vfio_irq_set.index": r"VFIO_PCI_\w+_IRQ_INDEX",
    "vfio_pci_hot_reset_info.flags": r"VFIO_PCI_HOT_RESET_FLAG_\w+",
    "vfio_device_gfx_plane_info.flags": r"VFIO_GFX_PLANE_TYPE_\w+",
    "vfio_device_ioeventfd.flags": r"VFIO_DEVICE_IOEVENTFD_\w+",
    "vfio_device_feature.flags": r"VFIO_DEVICE_FEATURE_(?!CLEAR_MASTER|SET_MASTER)\w+",
    "vfio_device_feature_mig_state.device_state": r"VFIO_DEVICE_STATE_(?!MASK|NR)\w+",
    "vfio_device_feature_bus_master.op": r"VFIO_DEVICE_FEATURE_(CLEAR|SET)_MASTER",
    "vfio_device_bind_iommufd.flags": r"VFIO_DEVICE_BIND_FLAG_\w+",
    "vfio_device_attach_iommufd_pt.flags": r"VFIO_DEVICE_ATTACH_PASID",
    "vfio_device_detach_iommufd_pt.flags": r"VFIO_DEVICE_DETACH_PASID",
    "vfio_iommu_type1_info.flags": r"VFIO_IOMMU_INFO_\w+",
    "vfio_iommu_type1_dma_map.flags": r"VFIO_DMA_MAP_FLAG_\w+",
    "vfio_iommu_type1_dma_unmap.flags": r"VFIO_DMA_UNMAP_FLAG_\w+",
    "vfio_iommu_type1_dirty_bitmap.flags": r"VFIO_IOMMU_DIRTY_PAGES_FLAG_\w+",

    "iommu_ioas_map.flags": r"IOMMU_IOAS_MAP_\w+",
    "iommu_ioas_map_file.flags": r"IOMMU_IOAS_MAP_\w+",
    "iommu_ioas_copy.flags": r"IOMMU_IOAS_MAP_\w+",
    "iommu_option.option_id": r"IOMMU_OPTION_(?!OP_)\w+",
    "iommu_option.op": r"IOMMU_OPTION_OP_\w+",
    "iommu_vfio_ioas.op": r"IOMMU_VFIO_IOAS_\w+",
    "iommu_hwpt_alloc.flags": r"IOMMU_HWPT_(ALLOC|FAULT)_\w+",
    "iommu_hwpt_alloc.data_type": r"IOMMU_HWPT_DATA_\w+",
    "iommu_hwpt_vtd_s1.flags": r"IOMMU_VTD_S1_\w+",
    "iommu_hw_info.flags": r"IOMMU_HW_INFO_FLAG_\w+",
    "iommu_hw_info.in_data_type": r"IOMMU_HW_INFO_TYPE_\w+",
    "iommu_hw_info.out_data_type": r"IOMMU_HW_INFO_TYPE_\w+",
    "iommu_hw_info.out_capabilities": r"IOMMU_HW_CAP_\w+",
    "iommu_hwpt_set_dirty_tracking.flags": r"IOMMU_HWPT_DIRTY_TRACKING_\w+",
    "iommu_hwpt_get_dirty_bitmap.flags": r"IOMMU_HWPT_GET_DIRTY_BITMAP_\w+",
    "iommu_hwpt_invalidate.data_type": r"IOMMU_(HWPT|VIOMMU)_INVALIDATE_DATA_\w+",
    "iommu_viommu_alloc.type": r"IOMMU_VIOMMU_TYPE_\w+",
    "iommu_veventq_alloc.type": r"IOMMU_VEVENTQ_TYPE_\w+",
    "iommu_hw_queue_alloc.type": r"IOMMU_HW_QUEUE_TYPE_\w+",

    "vhost_features_array.features": _FEATURES,
    "vhost_vring_addr.flags": r"VHOST_VRING_F_\w+",
    "vhost_vring_file.fd": r"VHOST_FILE_UNBIND",
    "vhost_scsi_target.abi_version": r"VHOST_SCSI_ABI_VERSION",
}
