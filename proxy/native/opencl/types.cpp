#include "types.hpp"

#include <cctype>
#include <unordered_map>

namespace haltere {
namespace {

std::mutex objects_lock;
std::unordered_map<const void*, ArgKind>& objects() {
  static auto* live = new std::unordered_map<const void*, ArgKind>;
  return *live;
}

}  // namespace

void note_object(const void* object, ArgKind kind) {
  const std::lock_guard lock(objects_lock);
  objects()[object] = kind;
}

void forget_object(const void* object) {
  const std::lock_guard lock(objects_lock);
  objects().erase(object);
}

ArgKind kind_of(const Argument& declared, std::size_t nbytes, const void* value) {
  if (declared.access && declared.access != CL_KERNEL_ARG_ACCESS_NONE) return ArgKind::kImage;
  if (declared.type_name == "sampler_t") return ArgKind::kSampler;
  switch (declared.address) {
    case CL_KERNEL_ARG_ADDRESS_GLOBAL:
    case CL_KERNEL_ARG_ADDRESS_CONSTANT: return ArgKind::kBuffer;
    case CL_KERNEL_ARG_ADDRESS_LOCAL: return ArgKind::kLocal;
    case CL_KERNEL_ARG_ADDRESS_PRIVATE: return ArgKind::kValue;
    default: break;
  }
  if (!value) return ArgKind::kLocal;
  if (nbytes != sizeof(void*)) return ArgKind::kValue;
  const void* object = *static_cast<const void* const*>(value);
  const std::lock_guard lock(objects_lock);
  const auto found = objects().find(object);
  return found == objects().end() ? ArgKind::kValue : found->second;
}

std::size_t scalar_bytes(const std::string& type_name) {
  static const std::unordered_map<std::string, std::size_t> kSizes = {
      {"char", 1}, {"uchar", 1}, {"short", 2}, {"ushort", 2}, {"half", 2},  {"int", 4},           {"uint", 4},
      {"long", 8}, {"ulong", 8}, {"float", 4}, {"double", 8}, {"unsigned int", 4}, {"unsigned char", 1},
      {"unsigned short", 2}, {"unsigned long", 8}};
  std::size_t end = type_name.size();
  while (end && std::isdigit(static_cast<unsigned char>(type_name[end - 1]))) --end;
  const auto found = kSizes.find(type_name.substr(0, end));
  if (found == kSizes.end()) return 0;
  const std::string digits = type_name.substr(end);
  if (digits.empty()) return found->second;
  const std::size_t count = digits == "3" ? 4 : std::strtoul(digits.c_str(), nullptr, 10);
  return count <= 16 ? count * found->second : 0;
}

}  // namespace haltere
