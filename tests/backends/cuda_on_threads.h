// Just enough of CUDA to run one block of an emitted kernel after another, a CPU thread for each of its threads.
#include <barrier>
#include <thread>
#include <vector>

struct Index { int x, y, z; };
static thread_local Index blockIdx, threadIdx;
static std::barrier<>* block;

static void __syncthreads() { block->arrive_and_wait(); }

template <typename Kernel>
void launch_on_threads(Index grid, int num_threads, Kernel kernel) {
  std::barrier<> all(num_threads);
  block = &all;
  std::vector<std::thread> team;
  for (int thread = 0; thread < num_threads; ++thread)
    team.emplace_back([=] {
      threadIdx = {thread, 0, 0};
      for (int z = 0; z < grid.z; ++z)
        for (int y = 0; y < grid.y; ++y)
          for (int x = 0; x < grid.x; ++x) {
            blockIdx = {x, y, z};
            kernel();
            __syncthreads();
          }
    });
  for (auto& thread : team) thread.join();
}

#define __global__
#define __launch_bounds__(count)
#define __shared__ static
#define alignas(count) __attribute__((aligned(count)))
