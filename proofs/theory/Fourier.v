(** The discrete Fourier transform over N places, plain or twisted: orthogonality of its waves, Parseval, and shifts.

    A twisted sequence has x(z + N) = - x(z): its frequencies are pi (2 k + 1) / N instead of pi (2 k) / N, k = 0 .. N - 1.
    There is no inverse transform here, and no fast one: norms need neither. *)

From Coq Require Import Arith Bool ZArith Reals Lra Lia Psatz.
From Lipverify Require Import Sums Vectors Complex.
Open Scope R_scope.

(** w_k = pi (2 k + twist) / N. *)
Definition frequency (N : nat) (twist : bool) (k : nat) : R := PI * (2 * INR k + (if twist then 1 else 0)) / INR N.

(** e^(-i w z) at the integer z. *)
Definition wave (w : R) (z : Z) : complex := cis (- (w * IZR z)).

Lemma wave_zero w : wave w 0 = 1%C.
Proof. unfold wave. replace (- (w * 0)) with 0 by ring. apply cis_zero. Qed.

Lemma wave_plus w y z : wave w (y + z) = (wave w y * wave w z)%C.
Proof. unfold wave. rewrite <- cis_plus, plus_IZR. f_equal. ring. Qed.

Lemma wave_opp w z : wave w (- z) = conjugate (wave w z).
Proof. unfold wave. rewrite <- cis_opp, opp_IZR. f_equal. ring. Qed.

(** Minus the frequency: the conjugate wave. *)
Lemma wave_opp_frequency w z : wave (- w) z = conjugate (wave w z).
Proof. unfold wave. rewrite <- cis_opp. f_equal. ring. Qed.

Lemma abs2_wave w z : abs2 (wave w z) = 1.
Proof. apply abs2_cis. Qed.

(** A full turn more of the frequency changes nothing at integers. *)
Lemma wave_turn w z : wave (2 * PI + w) z = wave w z.
Proof.
  unfold wave. replace (- ((2 * PI + w) * IZR z)) with (2 * PI * IZR (- z) + - (w * IZR z)) by (rewrite opp_IZR; ring).
  rewrite cis_plus. replace (cis (2 * PI * IZR (- z))) with 1%C; [ring|].
  destruct (Z_le_gt_dec 0 (- z)) as [up|down].
  - rewrite <- (Z2Nat.id (- z)) by exact up. rewrite <- INR_IZR_INZ. symmetry. apply cis_turns.
  - replace (2 * PI * IZR (- z)) with (- (2 * PI * INR (Z.to_nat z)))
      by (rewrite INR_IZR_INZ, Z2Nat.id, opp_IZR by lia; ring).
    rewrite cis_opp, cis_turns. by_parts.
Qed.

(** 1 on a plain torus; -1 after an odd number of turns around a twisted one. *)
Definition sign (twist : bool) (turns : Z) : R := if twist && Z.odd turns then -1 else 1.

Lemma sign_zero twist : sign twist 0 = 1.
Proof. destruct twist; reflexivity. Qed.

Lemma sign_succ twist turns : sign twist (turns + 1) = sign twist 1 * sign twist turns.
Proof.
  unfold sign. replace (turns + 1)%Z with (Z.succ turns) by lia. rewrite Z.odd_succ, <- Z.negb_odd.
  destruct twist, (Z.odd turns); simpl; ring.
Qed.

Lemma sign_square twist turns : sign twist turns * sign twist turns = 1.
Proof. unfold sign. destruct (twist && Z.odd turns); ring. Qed.

(** Once around the torus. *)
Lemma wave_around N twist k : (0 < N)%nat -> wave (frequency N twist k) (Z.of_nat N) = real (sign twist 1).
Proof.
  intros positive. assert (INR N <> 0) by (apply not_0_INR; lia).
  unfold wave, frequency. rewrite <- INR_IZR_INZ, cis_opp.
  replace (PI * (2 * INR k + (if twist then 1 else 0)) / INR N * INR N)
    with (2 * PI * INR k + (if twist then PI else 0)) by (destruct twist; field; assumption).
  rewrite cis_plus, cis_turns. destruct twist; apply complex_eq; simpl;
    rewrite ?cos_PI, ?sin_PI, ?cos_0, ?sin_0; unfold sign; simpl; ring.
Qed.

(** ** Orthogonality *)

(** e^(i angle) = 1 only at multiples of a full turn. *)
Lemma cis_not_one angle : 0 < angle < 2 * PI -> cis angle <> 1%C.
Proof.
  intros [low high] one. apply (f_equal re) in one. simpl in one.
  replace angle with (2 * (angle / 2)) in one by field. rewrite cos_2a_sin in one.
  assert (0 < sin (angle / 2)) by (apply sin_gt_0; lra). nra.
Qed.

(** From one frequency to the next a wave turns by 2 pi z / N, which is no full turn if 0 < |z| < N. *)
Lemma wave_step N z : (0 < N)%nat -> (0 < Z.abs z < Z.of_nat N)%Z -> wave (2 * PI / INR N) z <> 1%C.
Proof.
  intros positive [low high] one.
  assert (0 < INR N) as above by (apply lt_0_INR; lia). pose proof PI_RGT_0.
  assert (cis (2 * PI / INR N * IZR (Z.abs z)) = 1%C) as turned.
  { unfold wave in one. destruct (Z.abs_eq_or_opp z) as [-> | ->].
    - rewrite <- (Ropp_involutive (_ * _)), cis_opp, one. by_parts.
    - rewrite opp_IZR. rewrite <- one. f_equal. ring. }
  apply cis_not_one in turned; [exact turned|].
  apply IZR_lt in low, high. rewrite <- INR_IZR_INZ in high.
  assert (0 < 2 * PI / INR N) as step by (apply Rdiv_lt_0_compat; lra). split; [nra|].
  apply Rlt_le_trans with (2 * PI / INR N * INR N); [nra|]. right. field. lra.
Qed.

Lemma frequency_succ N twist k :
  (0 < N)%nat -> frequency N twist (S k) = 2 * PI / INR N + frequency N twist k.
Proof. intros positive. unfold frequency. rewrite S_INR. field. apply not_0_INR; lia. Qed.

(** A sum over all frequencies does not change if every frequency is replaced by the next. *)
Lemma sum_next_frequency N twist z : (0 < N)%nat ->
  csum N (fun k => wave (frequency N twist (S k)) z) = csum N (fun k => wave (frequency N twist k) z).
Proof.
  intros positive. pose proof (csum_first N (fun k => wave (frequency N twist k) z)) as first. rewrite csum_S in first.
  replace (frequency N twist N) with (2 * PI + frequency N twist 0) in first
    by (unfold frequency; simpl; field; apply not_0_INR; lia).
  rewrite wave_turn in first. set (f0 := wave (frequency N twist 0) z) in *.
  replace (csum N (fun k => wave (frequency N twist (S k)) z))
    with (f0 + csum N (fun k => wave (frequency N twist (S k)) z) - f0)%C by ring.
  rewrite <- first. ring.
Qed.

(** Waves of different places are orthogonal: the sum over the frequencies of e^(-i w_k z) is 0 for 0 < |z| < N. *)
Theorem waves_orthogonal N twist z : (0 < Z.abs z < Z.of_nat N)%Z ->
  csum N (fun k => wave (frequency N twist k) z) = 0%C.
Proof.
  intros other. assert (0 < N)%nat as positive by lia.
  apply times_fixed with (wave (2 * PI / INR N) z); [|apply wave_step; assumption].
  rewrite <- csum_scal, <- (sum_next_frequency N twist z positive) at 1. apply csum_ext; intros k _.
  rewrite frequency_succ by exact positive. unfold wave at 1 2. rewrite <- cis_plus. unfold wave. f_equal. ring.
Qed.

(** ** The transform *)

(** The sum over the N places of e^(i w j) x_j. *)
Definition transform (N : nat) (x : nat -> complex) (w : R) : complex :=
  csum N (fun j => conjugate (wave w (Z.of_nat j)) * x j)%C.

(** Parseval: over the N frequencies the transform has N times the square of the norm. *)
Theorem parseval N twist x :
  sum N (fun k => abs2 (transform N x (frequency N twist k))) = INR N * csquare N x.
Proof.
  set (pair := fun j l => (x j * conjugate (x l))%C).
  rewrite (sum_ext N _ (fun k => sum N (fun j => sum N (fun l =>
    re (pair j l * wave (frequency N twist k) (Z.of_nat l - Z.of_nat j)))))).
  - rewrite sum_swap. unfold csquare. rewrite <- sum_scal. apply sum_ext; intros j below.
    rewrite sum_swap, (sum_only N _ j below).
    + rewrite (sum_ext N _ (fun _ => abs2 (x j))); [apply sum_const|]. intros k _.
      rewrite Z.sub_diag, wave_zero. unfold pair. rewrite times_conjugate. simpl. ring.
    + intros l small other.
      change (re (csum N (fun k => pair j l * wave (frequency N twist k) (Z.of_nat l - Z.of_nat j))%C) = 0).
      rewrite csum_scal, waves_orthogonal by lia. simpl. ring.
  - intros k _. unfold transform. rewrite abs2_csum. apply sum_ext; intros j _. apply sum_ext; intros l _.
    unfold Z.sub. rewrite wave_plus, wave_opp, !conjugate_times, conjugate_twice. unfold pair. f_equal. ring.
Qed.

(** The same for sequences of vectors of length q: place j has row j of x. *)
Definition transform_rows (N q : nat) (x : cvec) (w : R) : cvec := fun c => transform N (fun j => row q j x c) w.

Lemma parseval_rows N q twist x :
  sum N (fun k => csquare q (transform_rows N q x (frequency N twist k))) = INR N * csquare (N * q) x.
Proof.
  rewrite csquare_rows. unfold csquare, transform_rows. rewrite sum_swap, (sum_swap N q), <- sum_scal.
  apply sum_ext; intros c _. apply parseval.
Qed.

(** ** Shifts *)

(** The sum of a function of period N over N consecutive integers does not depend on where they start. *)
Lemma sum_period_up N (g : Z -> complex) (a : nat) : (forall z, g (z + Z.of_nat N)%Z = g z) ->
  csum N (fun j => g (Z.of_nat j + Z.of_nat a)%Z) = csum N (fun j => g (Z.of_nat j)).
Proof.
  intros period. induction a as [|a IH].
  - apply csum_ext; intros j _. f_equal. lia.
  - rewrite <- IH. set (f := fun j => g (Z.of_nat j + Z.of_nat a)%Z).
    pose proof (csum_first N f) as first. rewrite csum_S in first.
    assert (f N = f O) as back by (unfold f; rewrite <- (period (Z.of_nat 0 + _)%Z); f_equal; lia).
    rewrite back in first.
    transitivity (csum N (fun j => f (S j))); [apply csum_ext; intros j _; unfold f; f_equal; lia|].
    replace (csum N (fun j => f (S j))) with (f O + csum N (fun j => f (S j)) - f O)%C by ring. rewrite <- first. ring.
Qed.

Lemma sum_period N (g : Z -> complex) (a : Z) : (forall z, g (z + Z.of_nat N)%Z = g z) ->
  csum N (fun j => g (Z.of_nat j + a)%Z) = csum N (fun j => g (Z.of_nat j)).
Proof.
  intros period. destruct (Z_le_gt_dec 0 a) as [up|down].
  - rewrite <- (Z2Nat.id a up). apply sum_period_up; exact period.
  - rewrite <- (sum_period_up N (fun z => g (z + a)%Z) (Z.to_nat (- a))).
    + apply csum_ext; intros j _. f_equal. lia.
    + intros z. rewrite <- (period (z + a)%Z). f_equal. lia.
Qed.

(** x on all integers: x(z + N) = x(z), or - x(z) with a twist. *)
Definition extension (N : nat) (twist : bool) (x : nat -> complex) (z : Z) : complex :=
  (real (sign twist (z / Z.of_nat N)) * x (Z.to_nat (z mod Z.of_nat N)))%C.

Lemma extension_inside N twist x z : (0 <= z < Z.of_nat N)%Z -> extension N twist x z = x (Z.to_nat z).
Proof. intros inside. unfold extension. rewrite Z.div_small, Z.mod_small, sign_zero by exact inside. ring. Qed.

Lemma extension_around N twist x z : (0 < N)%nat ->
  extension N twist x (z + Z.of_nat N) = (real (sign twist 1) * extension N twist x z)%C.
Proof.
  intros positive. unfold extension. replace (z + Z.of_nat N)%Z with (z + 1 * Z.of_nat N)%Z by lia.
  rewrite Z.div_add, Z.mod_add, sign_succ by lia. by_parts.
Qed.

(** Shift theorem: the transform of j -> x(j + a) is e^(-i w a) times that of x. *)
Theorem transform_shift N twist x a k : (0 < N)%nat -> let w := frequency N twist k in
  transform N (fun j => extension N twist x (Z.of_nat j + a)) w = (wave w a * transform N x w)%C.
Proof.
  intros positive w. set (g := fun z => (conjugate (wave w z) * extension N twist x z)%C).
  assert (forall z, g (z + Z.of_nat N)%Z = g z) as period.
  { intros z. unfold g. rewrite extension_around, wave_plus, conjugate_times by exact positive.
    unfold w at 2. rewrite wave_around by exact positive. pose proof (sign_square twist 1) as one.
    replace (conjugate (real (sign twist 1))) with (real (sign twist 1)) by by_parts.
    transitivity (real (sign twist 1 * sign twist 1) * (conjugate (wave w z) * extension N twist x z))%C;
      [by_parts | rewrite one; ring]. }
  transitivity (csum N (fun j => wave w a * g (Z.of_nat j + a)%Z)%C).
  - apply csum_ext; intros j _. unfold g. rewrite wave_plus, conjugate_times.
    transitivity (wave w a * conjugate (wave w a) * (conjugate (wave w (Z.of_nat j)) *
      extension N twist x (Z.of_nat j + a)))%C; [|ring].
    rewrite times_conjugate, abs2_wave. ring.
  - rewrite csum_scal, sum_period by exact period. f_equal. apply csum_ext; intros j below. unfold g.
    rewrite extension_inside, Nat2Z.id by lia. reflexivity.
Qed.
