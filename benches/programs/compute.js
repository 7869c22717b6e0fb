// Integer and floating-point arithmetic; prints its time once it is compiled.
function sieve(composite) {
    let primes = 0;
    composite.fill(0);
    for (let number = 2; number < composite.length; number++) {
        if (composite[number]) continue;
        primes++;
        for (let multiple = number * number; multiple < composite.length; multiple += number) {
            composite[multiple] = 1;
        }
    }
    return primes;
}

function collatz(limit) {
    let steps = 0;
    for (let start = 1; start < limit; start++) {
        for (let number = start; number !== 1; steps++) {
            number = number % 2 ? 3 * number + 1 : number / 2;
        }
    }
    return steps;
}

function waves(count) {
    let sum = 0;
    for (let at = 1; at < count; at++) sum += Math.sqrt(at) / (1 + sum * sum);
    return sum;
}

const composite = new Uint8Array(4000000);
const work = () => sieve(composite) + collatz(100000) + Math.floor(waves(5000000));
let result = 0;
for (let turn = 0; turn < 4; turn++) result += work();
const start = process.hrtime.bigint();
for (let turn = 0; turn < 8; turn++) result += work();
console.log(`result ${result}\ntime_ns ${process.hrtime.bigint() - start}`);
